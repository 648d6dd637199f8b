//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use bayeux::{Channel, ConnectionType};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueHint};

macro_rules! with_exit_codes {
    ($text:expr) => {
        concat!(
            $text,
            "\n\nExit codes:\n  \
             0    done, or whoever read the output has gone\n  \
             1    the connection could not be made, or broke\n  \
             2    the command line, a file or the input is wrong\n  \
             3    the server refused, or ended the session\n  \
             4    something took too long\n  \
             130  interrupted by ^C (143: told to terminate)"
        )
    };
}

/// CometD (Bayeux) at the terminal: over WebSocket and HTTP long-polling, with any server.
#[derive(Debug, Parser)]
#[command(
    name = "bayeux",
    version,
    max_term_width = 100,
    after_help = with_exit_codes!(
        "Example, in two terminals:\n  bayeux serve\n  bayeux chat http://127.0.0.1:8080/cometd ann"
    )
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
    Subscribe(Subscribe),
    Publish(Publish),
    Request(Request),
    Inspect(Inspect),
    Chat(Chat),
    Pipe(Pipe),
    Bench(Bench),
    /// Print completions for a shell.
    #[command(after_help = "Examples:\n  \
        bayeux completions bash > ~/.local/share/bash-completion/completions/bayeux\n  \
        bayeux completions zsh > ~/.zfunc/_bayeux\n  \
        bayeux completions fish > ~/.config/fish/completions/bayeux.fish")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Run a server with CometD's chat demo: /chat/*, /members/*, /service/members, /service/echo.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "Prints its URL and serves until ^C, which is then no failure.\n\n\
     Examples:\n  bayeux serve\n  bayeux serve --host 0.0.0.0 --port 0 -v"
))]
pub(crate) struct Serve {
    /// The address to listen at; anything but loopback lets others in.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// How long a connect is held.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(crate) timeout: Duration,
    /// How long a session is kept that does not connect.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) max_interval: Duration,
    /// Let the pages of this origin in, such as https://example.com; may be given several times. `any` lets all in.
    /// Without it only pages from the server's own address, and programs, are let in.
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub(crate) origins: Vec<String>,
    /// Offer callback-polling (JSONP) as well; pages of every site can then read what is published.
    #[arg(long)]
    pub(crate) callback_polling: bool,
    /// Log what happens to standard error; twice for more.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Print messages of channels, one JSON object a line: {"channel": …, "data": …}.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "What happens to the connection is told on standard error.\n\n\
     Examples:\n  bayeux subscribe http://127.0.0.1:8080/cometd '/chat/**'\n  \
     bayeux subscribe URL /trades /quotes --count 10 --for 1m | jq .data"
))]
pub(crate) struct Subscribe {
    /// The server, http:// or https:// (ws:// and wss:// are the same).
    pub(crate) url: String,
    /// Channels or patterns: /a, /a/*, /a/**.
    #[arg(required = true, value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// Stop after that many messages.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Stop after that time.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Publish a message and print the server's reply.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "With -, replies come in the order of the lines; a line that fails is told, the rest goes on, and the exit code \
     is that of the worst.\n\n\
     Examples:\n  bayeux publish URL /chat/demo '{\"user\": \"ann\", \"chat\": \"hi\"}'\n  \
     seq 1 1000 | bayeux publish URL /numbers -"
))]
pub(crate) struct Publish {
    /// The server.
    pub(crate) url: String,
    /// The channel.
    pub(crate) channel: String,
    /// The payload as JSON; - reads one JSON value a line from standard input.
    #[arg(value_name = "JSON|-")]
    pub(crate) data: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Send a message to a service channel and print the payload of its answer.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "Example:\n  bayeux request URL /service/echo '{\"ping\": 1}'"
))]
pub(crate) struct Request {
    /// The server.
    pub(crate) url: String,
    /// The service channel, /service/….
    pub(crate) channel: String,
    /// The payload as JSON.
    #[arg(value_name = "JSON")]
    pub(crate) data: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Tell what a server supports: transports, advice, extensions, round trip.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "Each transport is tried by itself; it is a success when one works.\n\n\
     Examples:\n  bayeux inspect https://example.com/cometd\n  \
     bayeux inspect URL --json | jq '.transports[] | select(.works).round_trip_ms'"
))]
pub(crate) struct Inspect {
    /// The server.
    pub(crate) url: String,
    /// Print JSON instead.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Chat in a room, with the users of CometD's chat demo.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "In the chat: /who lists who is here, /quit (or ^D, ^C) leaves, /help tells; up and down fetch earlier lines.\n\
     Without a terminal it reads lines and prints lines.\n\n\
     Example:\n  bayeux chat http://127.0.0.1:8080/cometd ann --room demo"
))]
pub(crate) struct Chat {
    /// The server.
    pub(crate) url: String,
    /// Your name in the room.
    #[arg(value_parser = nickname)]
    pub(crate) nickname: String,
    /// The room.
    #[arg(long, default_value = "demo", value_parser = room)]
    pub(crate) room: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// A session for programs: JSON commands on standard input, JSON events on standard output, one a line.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    r#"Commands:
  {"subscribe": "/chat/**"}
  {"unsubscribe": "/chat/**"}
  {"publish": "/chat/demo", "data": …, "tag": 7}
  {"request": "/service/echo", "data": …, "tag": 8}
  {"close": true}
A command may have a tag, any JSON value, which its outcome repeats.
The end of the input closes, too.

What comes, by its "type":
  opened        transport
  subscribed    channel, tag
  unsubscribed  channel, tag
  message       channel, data
  reply         channel, tag, and the server's reply or the service's data
  error         kind, text, tag, and code when the server gave one
  event         event, and what belongs to it
  closed        reason, text
docs/pipe.md describes each field.

Example:
  echo '{"publish": "/chat/demo", "data": {"user": "ann", "chat": "hi"}}' | bayeux pipe URL"#
))]
pub(crate) struct Pipe {
    /// The server.
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Load a server with chat rooms, and tell how fast messages come through.
///
/// The work is that of CometD's own load test, with its parameters and defaults: each client joins some rooms; then
/// batches are published to rooms that somebody is in, by one client after the other; every copy that comes is counted,
/// with the time since it was published.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "It needs a server that lets anybody subscribe and publish below /bench; many clients need many open files \
     (ulimit -n).\n\n\
     Examples:\n  bayeux bench http://127.0.0.1:8080/cometd --clients 100 --transport websocket\n  \
     bayeux bench URL --batches 5000 --batch-pause 1ms --json | jq .latency_us"
))]
pub(crate) struct Bench {
    /// The server.
    pub(crate) url: String,
    /// The channel of the rooms, below /bench.
    #[arg(long, default_value = "/a")]
    pub(crate) channel: String,
    /// How many rooms there are.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rooms: u32,
    /// How many rooms each client joins.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rooms_per_client: u32,
    /// How many clients there are.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,
    /// How many batches are published.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batches: u32,
    /// How many messages a batch has.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch_size: u32,
    /// How long after one batch the next begins.
    #[arg(long, value_parser = duration, default_value = "10ms")]
    pub(crate) batch_pause: Duration,
    /// How long the text of a message is, in bytes.
    #[arg(long, default_value_t = 50)]
    pub(crate) message_size: u32,
    /// Let a random client publish, not the next.
    #[arg(long)]
    pub(crate) randomize: bool,
    /// Use the acknowledge extension.
    #[arg(long)]
    pub(crate) ack: bool,
    /// How often the whole is done, with the same clients.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) iterations: u32,
    /// Print JSON instead: one object for each iteration.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// How to connect.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Another server of the same cluster, tried when the one before cannot be reached; repeat it in the order to try.
    #[arg(long, value_name = "URL")]
    pub(crate) fallback_url: Vec<String>,
    /// A transport to use; repeat it in the order of preference. Default: websocket, then long-polling.
    #[arg(long, value_name = "NAME", value_parser = transports())]
    pub(crate) transport: Vec<ConnectionType>,
    /// A header for each request, "Name: value".
    #[arg(long, value_name = "HEADER")]
    pub(crate) header: Vec<String>,
    /// A cookie for each request, name=value.
    #[arg(long, value_name = "COOKIE")]
    pub(crate) cookie: Vec<String>,
    /// Trust the certificate authorities in this PEM file too.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// Come with this client certificate (PEM).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Go through this proxy, e.g. http://user:password@host:3128 or socks5h://host; "none" for none.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Trust any certificate: whoever is on the way can read and change everything.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// How long the connection may stay lost before the command fails; "none" waits for ever. A chat never fails, and
    /// a pipe tells it and goes on.
    #[arg(long, value_name = "DURATION", value_parser = patience, default_value = "10s")]
    pub(crate) connection_timeout: Patience,
    /// How long making a connection may take.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) connect_timeout: Duration,
    /// Print what happens to the connection as JSON lines on standard error.
    #[arg(long)]
    pub(crate) events: bool,
    /// Log each message as it travels to standard error, without secrets.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// A time, or for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience(pub(crate) Option<Duration>);

fn duration(text: &str) -> Result<Duration, String> {
    /// More than anybody waits, and less than a clock can count.
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    let time =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 500ms, 10s or 2m"))?;
    if time > CENTURY { Err("that is more than a century".to_owned()) } else { Ok(time) }
}

fn patience(text: &str) -> Result<Patience, String> {
    if text == "none" { Ok(Patience(None)) } else { duration(text).map(|time| Patience(Some(time))) }
}

fn transports() -> impl TypedValueParser<Value = ConnectionType> {
    const BOTH: [ConnectionType; 2] = [ConnectionType::WebSocket, ConnectionType::LongPolling];
    PossibleValuesParser::new(BOTH.map(ConnectionType::as_str)).map(|name| {
        if name == ConnectionType::WebSocket.as_str() {
            ConnectionType::WebSocket
        } else {
            ConnectionType::LongPolling
        }
    })
}

fn nickname(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("a name has at least one letter".to_owned()) } else { Ok(text.to_owned()) }
}

fn room(text: &str) -> Result<String, String> {
    match Channel::parse(&format!("/chat/{text}")) {
        Ok(channel) if !channel.is_wild() && !text.contains('/') => Ok(text.to_owned()),
        _ => Err("a room is one segment of a channel: letters, digits and -_!~()$@".to_owned()),
    }
}
