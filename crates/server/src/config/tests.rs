use std::time::Duration;

use super::*;

const EXAMPLE: &str = include_str!("../../leveret.example.toml");

fn parse(text: &str) -> Result<ConfigFile, String> {
    ConfigFile::parse(text, Path::new("test.toml")).map_err(|error| error.to_string())
}

/// The start of the message, because the rest is up to the TOML parser.
#[track_caller]
fn check_refused(text: &str, want: &str) {
    let message = parse(text).unwrap_err();
    assert!(
        message.starts_with(want),
        "{message:?} does not start with {want:?}"
    );
    assert!(!message.contains('\n'), "{message:?} has several lines");
}

#[test]
fn every_key_can_be_set() {
    let text = "amqp = ['127.0.0.1:5672', '[::1]:5672']\nmemory = '2GiB'\ndisk-free-limit = '1GB'\n\
        consumer-timeout = '30min'\ndata-dir = '/var/lib/leveret'\nsync = 'interval:100'\ndurable-memory = '64MiB'\n\
        log-file = 'leveret.log'\nlog-level = 'warn,leveret_broker=debug'\nlog-format = 'json'\n\
        loopback-users = []\n";
    let want = ConfigFile {
        stomp: None,
        stomp_ws: None,
        amqp: Some(vec![
            "127.0.0.1:5672".parse().unwrap(),
            "[::1]:5672".parse().unwrap(),
        ]),
        memory: Some(MemorySize::Bytes(2 << 30)),
        disk_free_limit: Some(DiskSize::Bytes(1_000_000_000)),
        consumer_timeout: Some(TimeSpan(Some(Duration::from_secs(1800)))),
        data_dir: Some("/var/lib/leveret".into()),
        sync: Some("interval:100".parse().unwrap()),
        durable_memory: Some(MemorySize::Bytes(64 << 20)),
        log_file: Some("leveret.log".into()),
        log_level: Some("warn,leveret_broker=debug".parse().unwrap()),
        log_format: Some(LogFormat::Json),
        loopback_users: Some(Vec::new()),
        ..ConfigFile::default()
    };
    assert_eq!(parse(text), Ok(want));
}

#[test]
fn an_empty_file_sets_nothing() {
    assert_eq!(parse(""), Ok(ConfigFile::default()));
    assert_eq!(parse("# nothing\n"), Ok(ConfigFile::default()));
}

#[test]
fn memory_may_be_a_number() {
    let config = parse("memory = 536870912").unwrap();
    assert_eq!(config.memory, Some(MemorySize::Bytes(536_870_912)));
}

#[test]
fn limits_may_be_numbers_too() {
    let config = parse("disk-free-limit = 0\nconsumer-timeout = 1800000").unwrap();
    assert_eq!(config.disk_free_limit, Some(DiskSize::Bytes(0)));
    assert_eq!(config.consumer_timeout, Some("30min".parse().unwrap()));
}

#[test]
fn unknown_keys_are_refused_with_their_place() {
    check_refused(
        "memory = 1\n\n  amqpp = []\n",
        "test.toml:3:3: unknown field `amqpp`",
    );
    check_refused("[amqp]\nport = 5672\n", "test.toml:1:1: ");
}

#[test]
fn bad_values_are_refused_with_their_place() {
    check_refused(
        "amqp = ['127.0.0.1:1', 'localhost']",
        "test.toml:1:8: 'localhost': an address is written HOST:PORT",
    );
    check_refused("amqp = []", "test.toml:1:8: at least one address is needed");
    check_refused(
        "proxy-protocol-from = ['10.0.0.1/8']",
        "test.toml:1:23: '10.0.0.1/8': the address of a network",
    );
    check_refused(
        "websocket-origin = ['https://app.example/']",
        "test.toml:1:20: 'https://app.example/': an origin is written as https://app.example",
    );
    check_refused(
        "tls-client-cert = 'sometimes'",
        "test.toml:1:19: unknown variant `sometimes`",
    );
    check_refused("memory = '5XB'", "test.toml:1:10: unknown unit 'XB'");
    check_refused("memory = -1", "test.toml:1:10: a size is a whole number");
    check_refused("memory = 0", "test.toml:1:10: a size of zero");
    check_refused("memory = 0.5", "test.toml:1:10: invalid type");
    check_refused("disk-free-limit = -1", "test.toml:1:19: a size is a whole");
    check_refused(
        "consumer-timeout = '1d'",
        "test.toml:1:20: unknown unit 'd'",
    );
    check_refused("consumer-timeout = 0", "test.toml:1:20: a time of zero");
    check_refused(
        "handshake-timeout = 'off'",
        "test.toml:1:21: this time cannot be unlimited",
    );
    check_refused(
        "\nlog-level = 'loud'",
        "test.toml:2:13: 'loud' is not a level",
    );
    check_refused(
        "\nlog-format = 'xml'",
        "test.toml:2:14: unknown variant `xml`",
    );
    check_refused("data-dir = 7", "test.toml:1:12: invalid type");
    check_refused("sync = 'never'", "test.toml:1:8: 'never' is none of");
    check_refused("durable-memory = 0", "test.toml:1:18: a size of zero");
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    check_refused("memory = 1\nmemory = 2\n", "test.toml:2:1: ");
    check_refused("memory = 1\namqp = [\n", "test.toml:");
    check_refused("hello world\n", "test.toml:1:7: ");
}

#[test]
fn columns_count_characters() {
    assert_eq!(line_and_column("a\nüb", 4), (2, 2));
    assert_eq!(line_and_column("a\nüb", 3), (2, 1));
    assert_eq!(line_and_column("ab", 99), (1, 3));
    assert_eq!(line_and_column("", 0), (1, 1));
}

#[test]
fn the_example_changes_nothing_until_it_is_edited() {
    assert_eq!(parse(EXAMPLE), Ok(ConfigFile::default()));
}

#[test]
fn the_example_shows_every_key() {
    // Sentences have a space after their `#`, settings have none.
    let is_setting =
        |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let settings: String = EXAMPLE
        .lines()
        .filter(|line| is_setting(line))
        .map(|line| format!("{}\n", &line[1..]))
        .collect();
    let config = parse(&settings).unwrap();
    let ConfigFile {
        amqp,
        stomp,
        stomp_ws,
        memory,
        disk_free_limit,
        consumer_timeout,
        data_dir,
        sync,
        durable_memory,
        ctl_socket,
        log_file,
        log_level,
        log_format,
        loopback_users,
        vhost,
        user,
        permission,
        topic_permission,
        amqps,
        stomps,
        stomp_wss,
        tls_cert,
        tls_key,
        tls_client_ca,
        tls_client_cert,
        tls_client_crl,
        tls_min_version,
        tls_login_from,
        stomp_cert_login,
        tls_certificate,
        proxy_protocol_from,
        websocket_origin,
        connections_max,
        connections_per_user_max,
        connections_per_vhost_max,
        connections_per_address_max,
        strangers_per_address_max,
        handshake_timeout,
        initial_frame_size_max,
        free_login_failures,
        free_login_failures_per_address,
        channel_max,
        channels_per_user_max,
        channels_per_vhost_max,
        consumers_per_channel_max,
        consumers_per_connection_max,
        consumers_per_vhost_max,
        queues_max,
        queues_per_connection_max,
        exchanges_max,
        bindings_max,
        bindings_per_connection_max,
        message_size_max,
        headers_per_message_max,
        held_max,
        bytes_per_s_max,
        messages_per_s_max,
        auth,
    } = config;
    assert!(auth.has_every_section());
    assert!(bytes_per_s_max.is_some() && messages_per_s_max.is_some());
    assert_eq!((connections_max, channel_max), (Some(100_000), Some(2047)));
    assert_eq!(connections_per_user_max, Some(90_000));
    assert_eq!(connections_per_vhost_max, Some(100_000));
    assert_eq!(connections_per_address_max, Some(100_000));
    assert_eq!(strangers_per_address_max, Some(10_000));
    assert_eq!(handshake_timeout, Some(FiniteTime(Duration::from_secs(10))));
    assert_eq!(initial_frame_size_max, Some(InitialFrameSize(8192)));
    assert_eq!(
        (free_login_failures, free_login_failures_per_address),
        (Some(10), Some(100))
    );
    assert_eq!(
        (channels_per_user_max, channels_per_vhost_max),
        (Some(1_000_000), Some(2_000_000))
    );
    assert_eq!(consumers_per_channel_max, Some(10_000));
    assert_eq!(
        (consumers_per_connection_max, consumers_per_vhost_max),
        (Some(50_000), Some(2_000_000))
    );
    assert_eq!(
        (queues_max, queues_per_connection_max, exchanges_max),
        (Some(2_000_000), Some(250_000), Some(100_000))
    );
    assert_eq!(
        (bindings_max, bindings_per_connection_max),
        (Some(10_000_000), Some(1_000_000))
    );
    assert_eq!(message_size_max, Some(MemorySize::Bytes(128 << 20)));
    assert_eq!(headers_per_message_max, Some(1000));
    assert_eq!(held_max, Some(MemorySize::Bytes(256 << 20)));
    for addresses in [amqps, stomps, stomp_wss] {
        assert!(addresses.is_some_and(|addresses| addresses.len() == 2));
    }
    assert!(tls_cert.is_some() && tls_key.is_some() && tls_client_ca.is_some());
    assert!(tls_client_crl.is_some());
    assert_eq!(tls_client_cert, Some(ClientCertificates::Required));
    assert_eq!(tls_min_version, Some(TlsVersion::default()));
    assert_eq!(tls_login_from, Some(LoginFrom::default()));
    assert_eq!((stomp_cert_login, tls_certificate.len()), (Some(false), 1));
    assert!(proxy_protocol_from.is_some_and(|networks| networks.len() == 1));
    assert!(websocket_origin.is_some_and(|origins| origins.len() == 1));
    assert_eq!(memory, Some(MemorySize::DEFAULT));
    assert_eq!(disk_free_limit, Some(DiskSize::DEFAULT));
    assert_eq!(consumer_timeout, Some(TimeSpan::default()));
    assert_eq!(log_file, Some("/var/log/leveret/leveret.log".into()));
    assert_eq!(log_level, Some(LogFilter::default()));
    assert_eq!(log_format, Some(LogFormat::default()));
    assert!(amqp.is_some_and(|addresses| addresses.len() == 2));
    assert!(stomp.is_some_and(|addresses| addresses.len() == 2));
    assert!(stomp_ws.is_some_and(|addresses| addresses.len() == 2));
    assert!(data_dir.is_some());
    assert!(ctl_socket.is_some());
    assert_eq!(sync, Some(SyncChoice::default()));
    assert_eq!(durable_memory, Some(MemorySize::Bytes(8 << 20)));
    assert_eq!(loopback_users, Some(vec!["guest".to_owned()]));
    assert_eq!((vhost.len(), user.len()), (1, 2));
    assert_eq!((permission.len(), topic_permission.len()), (2, 1));
}

#[test]
fn what_accounts_refer_to_has_to_be_there() {
    let ann = "[[user]]\nname = 'ann'\n";
    let of = |user, vhost| {
        format!(
            "{ann}[[permission]]\nuser = '{user}'\nvhost = '{vhost}'\nconfigure = ''\nwrite = ''\nread = ''\n"
        )
    };
    parse(&of("ann", "/")).unwrap();
    check_refused(&of("bob", "/"), "test.toml:4:8: there is no user 'bob'");
    check_refused(&of("guest", "/"), "test.toml:4:8: there is no user 'guest'");
    check_refused(
        &of("ann", "shop"),
        "test.toml:5:9: there is no virtual host 'shop'",
    );
    let twice = format!("{}{}", of("ann", "/"), &of("ann", "/")[ann.len()..]);
    check_refused(
        &twice,
        "test.toml:10:8: the permission of 'ann' is there already",
    );
    check_refused(
        &format!("{ann}{ann}"),
        "test.toml:4:8: the user 'ann' is there already",
    );
    check_refused(
        "[[vhost]]\nname = 'a'\n[[vhost]]\nname = 'a'",
        "test.toml:4:8: the virtual host 'a' is there already",
    );
}

#[test]
fn passwords_and_patterns_are_looked_at() {
    let user = |rest: &str| format!("[[user]]\nname = 'ann'\n{rest}\n");
    check_refused(&user("password = ''"), "test.toml:3:12: an empty password");
    check_refused(
        &user("password-hash = 'secret'"),
        "test.toml:3:17: neither `$argon2id$...` nor",
    );
    check_refused(
        &user("password = 'x'\npassword-hash = 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR'"),
        "test.toml:2:8: a user has a password or a hash of it",
    );
    let pattern =
        "[[permission]]\nuser = 'guest'\nvhost = '/'\nconfigure = '^(?!x)'\nwrite = ''\nread = ''";
    check_refused(
        pattern,
        "test.toml:4:13: '^(?!x)' is not a pattern for permissions: look-around",
    );
    check_refused(
        &pattern.replace("^(?!x)", "").replace("\nread = ''", ""),
        "test.toml:1:1: missing field `read`",
    );
}

#[test]
fn no_secret_of_a_backend_is_in_debug_output() {
    let text = "[auth]\nbackends = ['http', 'oauth2']\n\
        [auth.http]\nuser-url = 'http://a:7hg2@x/u?k=9kd4'\nvhost-url = 'http://a:7hg2@x/v'\n\
        resource-url = 'http://a:7hg2@x/r'\ntopic-url = 'http://x/t?k=9kd4'\n\
        [auth.oauth2]\nresource-server-id = 'mq'\nissuer = 'https://a:7hg2@x'\n\
        jwks-url = 'https://a:7hg2@x/keys?k=9kd4'\n[[auth.oauth2.key]]\nsecret = '7hg2'\n";
    let shown = format!("{:?}", parse(text).unwrap().auth);
    assert!(shown.contains("Secret"), "{shown}");
    assert!(
        !shown.contains("7hg2") && !shown.contains("9kd4"),
        "{shown}"
    );
}
