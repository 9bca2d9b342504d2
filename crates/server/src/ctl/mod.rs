//! `leveret ctl`: looking after a running server, with the verbs, options, output and exit codes of `rabbitmqctl`.
//!
//! ```text
//!  line ──► verb ──Request──► client ──socket──► server ──► node: the broker
//!              │                                              │
//!  output ◄────┴───────────── Reply ◄────────────────────────┘
//! ```
//!
//! A verb reads its own arguments, asks with a [`Request`], and says in the words of `rabbitmqctl` what
//! came of it. The server carries out requests on the public API of the broker. Where there is no server, some verbs work
//! on a data directory at rest: the same requests go to a broker without listeners ([`at_rest`]).

mod at_rest;
mod cell;
mod client;
mod connections;
mod definitions;
mod failure;
mod frame;
mod limits;
mod line;
mod message;
mod node;
mod objects;
mod output;
mod permissions;
mod secret;
mod server;
mod socket;
mod status;
mod users;
mod verb;
mod vhosts;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use node::{About, Node};
pub(crate) use server::ControlServer;
pub(crate) use socket::{ControlSocket, socket_in};

use at_rest::AtRest;
use client::Client;
use failure::{Exit, Failure};
use line::Line;
use message::{Reply, Request};
use verb::Verb;

/// What follows `leveret ctl`: everything is read here, because options may stand anywhere and have the exit codes of
/// `rabbitmqctl`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// A verb with its arguments; `leveret ctl help` lists them
    #[arg(
        value_name = "VERB",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

/// Does what was asked for and gives the code to exit with.
pub(crate) fn run(args: Args) -> ExitCode {
    let mut out = io::stdout().lock();
    let outcome = say(args.words, &mut out);
    // When nobody reads stdout or stderr, the exit code has to do.
    let _ = out.flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::from(failure.exit() as u8)
        }
    }
}

fn say(words: Vec<String>, out: &mut impl Write) -> Result<(), Failure> {
    let line = Line::parse(words)?;
    let Some(verb) = line.verb else {
        return verb::help(line.arguments.first().map(String::as_str), out);
    };
    if line.wants_help {
        return verb::help(Some(verb.name), out);
    }
    line.check()?;
    if let Some(banner) = (verb.banner)(&line)
        && line.options.shows_banners()
    {
        writeln!(out, "{banner}")?;
        out.flush()?;
    }
    let mut peer = Peer {
        line: &line,
        verb,
        connection: None,
    };
    let outcome = (verb.run)(&line, &mut peer)?;
    outcome.print(&line.options, out)
}

/// Whoever carries out the requests of a verb. Sought when the first one is made: some verbs make none.
struct Peer<'a> {
    line: &'a Line,
    verb: &'static Verb,
    connection: Option<Connection>,
}

enum Connection {
    Server(Client),
    AtRest(Box<AtRest>),
}

impl Peer<'_> {
    /// # Errors
    /// When nobody can be asked, or the answer is no.
    fn ask(&mut self, request: Request) -> Result<Reply, Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => empty.insert(connect(self.line, self.verb)?),
        };
        let reply = match connection {
            Connection::Server(client) => client.ask(&request, self.verb.name)?,
            Connection::AtRest(at_rest) => at_rest.ask(request),
        };
        match reply {
            Reply::Failed(failure) => Err(failure),
            reply => Ok(reply),
        }
    }
}

fn connect(line: &Line, verb: &Verb) -> Result<Connection, Failure> {
    let socket = socket_of(line)?;
    let timeout = line.timeout();
    match Client::connect(&socket, timeout) {
        Ok(client) => Ok(Connection::Server(client)),
        Err(error) => match &line.options.data_dir {
            Some(dir) if verb.works_at_rest => {
                AtRest::open(dir).map(|at_rest| Connection::AtRest(Box::new(at_rest)))
            }
            _ => Err(Failure::unreachable(&socket, &error)),
        },
    }
}

fn socket_of(line: &Line) -> Result<PathBuf, Failure> {
    let options = &line.options;
    if let Some(socket) = &options.socket {
        return Ok(socket.clone());
    }
    let dir = options.data_dir.as_deref();
    dir.map(socket_in).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "Which server? Name its data directory with --data-dir or LEVERET_DATA_DIR, or its socket with --ctl-socket or \
             LEVERET_CTL_SOCKET",
        )
    })
}
