//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use bayeux::{Channel, Transport};
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
             130  interrupted by ^C (143: asked to terminate, 129: the terminal was closed)"
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
    Context(Context),
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
    /// Offer callback-polling (JSONP) as well; pages of every site can then read what is published.
    #[arg(long)]
    pub(crate) callback_polling: bool,
    /// The largest request body or frame to accept.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1MiB")]
    pub(crate) max_message_size: usize,
    /// Log what happens to standard error; twice for more.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Print messages of channels, one JSON object a line: {"channel": …, "data": …}.
#[derive(Debug, clap::Args)]
#[command(override_usage = "bayeux subscribe [OPTIONS] [URL] <CHANNEL>...", after_help = with_exit_codes!(
    "What happens to the connection is told on standard error.\n\n\
     Examples:\n  bayeux subscribe http://127.0.0.1:8080/cometd '/chat/**'\n  \
     bayeux subscribe URL /trades /quotes --count 10 --for 1m | jq .data"
))]
pub(crate) struct Subscribe {
    /// The server, http:// or https:// (ws:// and wss:// are the same). If it is left out: that of BAYEUX_URL, or of the
    /// context.
    pub(crate) url: Option<String>,
    /// Channels or patterns: /a, /a/*, /a/**.
    #[arg(value_name = "CHANNEL")]
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
#[command(override_usage = "bayeux publish [OPTIONS] [URL] <CHANNEL> <JSON|-|@FILE>", after_help = with_exit_codes!(
    "With - or @FILE, values may stand one on a line or be spread over many. Replies come in the order of the values; one \
     that fails is reported with its line, the rest goes on, and the exit code is that of the worst.\n\n\
     Examples:\n  bayeux publish URL /chat/demo '{\"user\": \"ann\", \"chat\": \"hi\"}'\n  \
     seq 1 1000 | bayeux publish URL /numbers -\n  bayeux publish /orders @order.json --context shop"
))]
pub(crate) struct Publish {
    /// The server. If it is left out: that of BAYEUX_URL, or of the context.
    pub(crate) url: Option<String>,
    /// The channel.
    pub(crate) channel: Option<String>,
    /// The payload as JSON; - reads any number of JSON values from standard input, @FILE from a file.
    #[arg(value_name = "JSON|-|@FILE")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Send a message to a service channel and print the payload of its answer.
#[derive(Debug, clap::Args)]
#[command(override_usage = "bayeux request [OPTIONS] [URL] <CHANNEL> <JSON|-|@FILE>", after_help = with_exit_codes!(
    "Example:\n  bayeux request URL /service/echo '{\"ping\": 1}'"
))]
pub(crate) struct Request {
    /// The server. If it is left out: that of BAYEUX_URL, or of the context.
    pub(crate) url: Option<String>,
    /// The service channel, /service/….
    pub(crate) channel: Option<String>,
    /// The payload as JSON; - reads it from standard input, @FILE from a file.
    #[arg(value_name = "JSON|-|@FILE")]
    pub(crate) data: Option<String>,
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
    /// The server. If it is left out: that of BAYEUX_URL, or of the context.
    pub(crate) url: Option<String>,
    /// Print JSON instead.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Chat in a room, with the users of CometD's chat demo.
#[derive(Debug, clap::Args)]
#[command(override_usage = "bayeux chat [OPTIONS] [URL] <NICKNAME>", after_help = with_exit_codes!(
    "In the chat: /who lists who is here, /quit (or ^D, ^C) leaves, /help tells; up and down fetch earlier lines.\n\
     Without a terminal it reads lines and prints lines.\n\n\
     Example:\n  bayeux chat http://127.0.0.1:8080/cometd ann --room demo"
))]
pub(crate) struct Chat {
    /// The server. If it is left out: that of BAYEUX_URL, or of the context.
    pub(crate) url: Option<String>,
    /// Your name in the room.
    pub(crate) nickname: Option<String>,
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
    /// The server. If it is left out: that of BAYEUX_URL, or of the context.
    pub(crate) url: Option<String>,
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
    /// The server. If it is left out: that of BAYEUX_URL, or of the context.
    pub(crate) url: Option<String>,
    /// The channel of the rooms, below /bench.
    #[arg(long, default_value = "/a", value_parser = below_bench)]
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
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The context to use, as `bayeux context` keeps them. Default: BAYEUX_CONTEXT, or the one in use; none of these if a
    /// URL is given.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
    /// Wait until the server is up, at most this long ("none" for ever).
    #[arg(long, value_name = "DURATION", value_parser = patience, num_args = 0..=1, require_equals = true,
        default_missing_value = "1m")]
    pub(crate) wait: Option<Patience>,
    /// How long the connection may stay lost before the command fails; "none" waits for ever. A chat never fails, and
    /// a pipe tells it and goes on.
    #[arg(long, value_name = "DURATION", value_parser = patience, default_value = "10s")]
    pub(crate) outage_timeout: Patience,
    /// How long making a connection may take.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) connect_timeout: Duration,
    /// The largest message to send, and the largest body or frame to receive. Default: 1MiB to send, 16MiB to receive.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_message_size: Option<usize>,
    /// Print what happens to the connection as JSON lines on standard error.
    #[arg(long)]
    pub(crate) events: bool,
    /// Log each message as it travels to standard error, without secrets.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Where a server is, and what it wants to see: what a context keeps.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Access {
    /// Another server of the same cluster, tried when the one before cannot be reached; repeat it in the order to try.
    #[arg(long, value_name = "URL")]
    pub(crate) fallback_url: Vec<String>,
    /// A transport to use; repeat it in the order of preference. Default: websocket, then long-polling.
    #[arg(long, value_name = "NAME", value_parser = transports())]
    pub(crate) transport: Vec<Transport>,
    /// A header for each request, "Name: value"; @FILE reads a file with one on a line.
    #[arg(long, value_name = "HEADER|@FILE")]
    pub(crate) header: Vec<String>,
    /// A cookie for each request, name=value; @FILE reads a file with one on a line.
    #[arg(long, value_name = "COOKIE|@FILE")]
    pub(crate) cookie: Vec<String>,
    /// Send the token in this file as "Authorization: Bearer …"; the file is read again when the server refuses it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "bearer_env")]
    pub(crate) bearer_file: Option<PathBuf>,
    /// Send the token in this environment variable as "Authorization: Bearer …".
    #[arg(long, value_name = "NAME")]
    pub(crate) bearer_env: Option<String>,
    /// A key of the handshake's ext and its value as JSON; KEY=@FILE reads the JSON from a file.
    #[arg(long, value_name = "KEY=JSON")]
    pub(crate) ext: Vec<String>,
    /// Trust the certificates in this PEM file too: certificate authorities, or the server's own certificate.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// Present this client certificate (PEM).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Go through this proxy, e.g. http://user:password@host:3128 or socks5h://host; "none" for none.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Trust any certificate. Anyone between client and server can then read and change everything.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Send cookies that the server marked as Secure over http:// and ws:// too, where others can read them.
    #[arg(long)]
    pub(crate) secure_cookies_over_http: bool,
}

/// Keep the URLs and credentials of servers under names.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "Contexts stand in the file that BAYEUX_CONFIG names, otherwise in bayeux/config.toml in the user's configuration \
     directory. Nobody else can read it. Secrets are never printed, and need not stand in it: --bearer-file, --bearer-env \
     and @FILE name where they are.\n\n\
     Examples:\n  bayeux context add shop https://example.com/cometd --bearer-file ~/.shop-token --use\n  \
     bayeux subscribe /orders\n  bayeux context ls"
))]
pub(crate) struct Context {
    #[command(subcommand)]
    pub(crate) command: ContextCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Add a context.
    Add {
        /// Its name: letters, digits and -_.
        name: String,
        /// The server.
        url: String,
        #[command(flatten)]
        access: Box<Access>,
        /// Replace the context of that name.
        #[arg(long)]
        replace: bool,
        /// Use it from now on.
        #[arg(long = "use")]
        and_use: bool,
    },
    /// List the contexts; * marks the one in use.
    Ls,
    /// Use a context from now on, whenever no URL is given.
    Use {
        /// Its name.
        name: String,
    },
    /// Remove a context.
    Rm {
        /// Its name.
        name: String,
    },
    /// Show a context without its secrets.
    Show {
        /// Its name. Default: the one in use.
        name: Option<String>,
    },
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

/// The transports that the client has.
pub(crate) fn known_transports() -> [Transport; 2] {
    [Transport::WebSocket, Transport::LongPolling]
}

fn transports() -> impl TypedValueParser<Value = Transport> {
    PossibleValuesParser::new(known_transports().map(Transport::as_str)).map(|name| {
        if name == Transport::WebSocket.as_str() { Transport::WebSocket } else { Transport::LongPolling }
    })
}

fn below_bench(text: &str) -> Result<String, String> {
    match Channel::parse(&format!("/bench{text}/0")) {
        Ok(_) if text.starts_with('/') => Ok(text.to_owned()),
        _ => Err("a channel is written as /a or /a/b, without * and without a / at its end".to_owned()),
    }
}

/// A number of bytes, such as 65536, 512KiB or 4MiB.
fn size(text: &str) -> Result<usize, String> {
    let wrong = || "write it as 65536, 512KiB or 4MiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1024,
        "m" | "mib" => 1024 * 1024,
        "g" | "gib" => 1024 * 1024 * 1024,
        _ => return Err(wrong()),
    };
    let number: usize = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|size| *size > 0).ok_or_else(wrong)
}

pub(crate) fn nickname(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("a nickname has at least one letter".to_owned()) } else { Ok(text.to_owned()) }
}

fn room(text: &str) -> Result<String, String> {
    match Channel::parse(&format!("/chat/{text}")) {
        Ok(channel) if !channel.is_wild() && !text.contains('/') => Ok(text.to_owned()),
        _ => Err("a room is one segment of a channel: letters, digits and -_!~()$@".to_owned()),
    }
}
