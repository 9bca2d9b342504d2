//! Users, permissions and virtual hosts of the configuration file.
#![cfg(unix)]

mod support;

use std::fs;

use support::amqp::{CHANNEL_CLOSE, CLOSE, Client, DECLARE_OK, OPEN_OK, TUNE};
use support::{Server, configured, fresh_path};

const CONFIG: &str = "
[[vhost]]
name = 'shop'

[[user]]
name = 'ann'
password = 'secret'

[[user]]
name = 'till'
# Password `test12`, as RabbitMQ's documentation has it.
password-hash = 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR'

[[user]]
name = 'nobody'

[[permission]]
user = 'ann'
vhost = '/'
configure = '.*'
write = '.*'
read = '.*'

[[permission]]
user = 'till'
vhost = 'shop'
configure = '^till'
write = ''
read = ''
";

#[test]
fn users_of_the_configuration_log_in_with_their_passwords() {
    let (server, address) = configured("users.toml", CONFIG);
    assert_eq!(
        server.next_stdout_line(),
        "leveret: log in as one of the users in the configuration file"
    );
    for (user, password) in [("ann", "secret"), ("till", "test12")] {
        Client::log_in(address, user, password).expect(TUNE);
        Client::log_in(address, user, password).expect(TUNE);
        Client::log_in(address, user, "wrong").expect(CLOSE);
    }
    for (user, password) in [("guest", "guest"), ("nobody", ""), ("nobody", "nobody")] {
        Client::log_in(address, user, password).expect(CLOSE);
    }
}

#[test]
fn users_do_what_their_permissions_say() {
    let (_server, address) = configured("permissions.toml", CONFIG);
    let check = |user, password, vhost, answer| {
        let mut client = Client::log_in(address, user, password);
        client.open_vhost(vhost);
        client.expect(answer);
        client
    };
    check("ann", "secret", "shop", CLOSE);
    check("till", "test12", "/", CLOSE);
    let mut ann = check("ann", "secret", "/", OPEN_OK);
    ann.declare_queue("any");
    ann.expect_on(1, DECLARE_OK);
    for (queue, answer) in [("till-1", DECLARE_OK), ("any", CHANNEL_CLOSE)] {
        let mut till = check("till", "test12", "shop", OPEN_OK);
        till.declare_queue(queue);
        till.expect_on(1, answer);
    }
}

#[test]
fn guest_may_be_let_in_from_anywhere() {
    let (server, address) = configured("anywhere.toml", "loopback-users = []\n");
    assert_eq!(
        server.next_stdout_line(),
        "leveret: log in as guest with password guest, from anywhere: change that"
    );
    Client::open(address);
}

#[test]
fn the_log_names_no_password() {
    let path = fresh_path("quiet.toml");
    fs::write(&path, CONFIG).unwrap();
    let (server, address) =
        Server::ready(&["--config", path.to_str().unwrap(), "--log-level", "trace"]);
    Client::log_in(address, "ann", "secret").expect(TUNE);
    Client::log_in(address, "ann", "not-so-secret").expect(CLOSE);
    server.signal("TERM");
    let outcome = server.outcome();
    let log = outcome.stderr.join("\n");
    assert!(log.contains("user 'ann' gave a wrong password"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}
