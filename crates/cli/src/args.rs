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
             0    success, or the reader of the output closed it\n  \
             1    the connection failed or was lost\n  \
             2    the command line, a file or the input is invalid\n  \
             3    the server refused, or ended the session\n  \
             4    a time limit expired\n  \
             130  interrupted by ^C (143: asked to terminate, 129: the terminal was closed)"
        )
    };
}

/// A command-line client for CometD (Bayeux) servers, over WebSocket and HTTP long-polling.
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
    "Prints its URL and serves until ^C, which ends it with exit code 0.\n\n\
     Examples:\n  bayeux serve\n  bayeux serve --host 0.0.0.0 --port 0 -v"
))]
pub(crate) struct Serve {
    /// The address to listen on. Other machines can connect unless it is a loopback address.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,
    /// The port; 0 picks a free port.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// How long the server holds a connect before it replies.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(crate) timeout: Duration,
    /// How long the server keeps a session without a connect.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) max_interval: Duration,
    /// Accept requests from web pages of this origin, such as https://example.com; may be given several times. `any`
    /// accepts all. Without it, only programs and pages of the server's own address are served.
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub(crate) origins: Vec<String>,
    /// Offer callback-polling (JSONP) too. Web pages of any site can then read what is published.
    #[arg(long)]
    pub(crate) callback_polling: bool,
    /// The largest request body or frame to accept.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1MiB")]
    pub(crate) max_message_size: usize,
    /// Log to standard error; -vv logs more.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Print the messages of channels, one JSON object per line: {"channel": …, "data": …}.
#[derive(Debug, clap::Args)]
#[command(override_usage = "bayeux subscribe [OPTIONS] [URL] <CHANNEL>...", after_help = with_exit_codes!(
    "Losses and recoveries of the connection are reported on standard error.\n\n\
     Examples:\n  bayeux subscribe http://127.0.0.1:8080/cometd '/chat/**'\n  \
     bayeux subscribe URL /trades /quotes --count 10 --for 1m | jq .data"
))]
pub(crate) struct Subscribe {
    /// The URL of the server: http:// or https:// (ws:// and wss:// mean the same). Default: BAYEUX_URL, or the URL of
    /// the context.
    pub(crate) url: Option<String>,
    /// Channels or patterns: /a, /a/*, /a/**.
    #[arg(value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// Stop after this number of messages.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Stop after this time.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Publish a message and print the server's reply.
#[derive(Debug, clap::Args)]
#[command(override_usage = "bayeux publish [OPTIONS] [URL] <CHANNEL> <JSON|-|@FILE>", after_help = with_exit_codes!(
    "With - or @FILE, a value may take one line, part of a line, or several lines. Replies are printed in the order of the \
     values. A value that fails is reported with its line number, the others are still published, and the exit code is \
     the highest of all failures.\n\n\
     Examples:\n  bayeux publish URL /chat/demo '{\"user\": \"ann\", \"chat\": \"hi\"}'\n  \
     seq 1 1000 | bayeux publish URL /numbers -\n  bayeux publish /orders @order.json --context shop"
))]
pub(crate) struct Publish {
    /// The URL of the server. Default: BAYEUX_URL, or the URL of the context.
    pub(crate) url: Option<String>,
    /// The channel.
    pub(crate) channel: Option<String>,
    /// The payload as JSON; - reads any number of JSON values from standard input, @FILE from a file.
    #[arg(value_name = "JSON|-|@FILE")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Send a message to a service channel and print the payload of the reply.
#[derive(Debug, clap::Args)]
#[command(override_usage = "bayeux request [OPTIONS] [URL] <CHANNEL> <JSON|-|@FILE>", after_help = with_exit_codes!(
    "Example:\n  bayeux request URL /service/echo '{\"ping\": 1}'"
))]
pub(crate) struct Request {
    /// The URL of the server. Default: BAYEUX_URL, or the URL of the context.
    pub(crate) url: Option<String>,
    /// The service channel, /service/….
    pub(crate) channel: Option<String>,
    /// The payload as JSON; - reads one value from standard input, @FILE from a file.
    #[arg(value_name = "JSON|-|@FILE")]
    pub(crate) data: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Print what a server supports: transports, advice, extensions, round-trip time.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "Each transport is tried separately. The command succeeds if at least one of them works.\n\n\
     Examples:\n  bayeux inspect https://example.com/cometd\n  \
     bayeux inspect URL --json | jq '.transports[] | select(.works).round_trip_ms'"
))]
pub(crate) struct Inspect {
    /// The URL of the server. Default: BAYEUX_URL, or the URL of the context.
    pub(crate) url: Option<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Chat in the terminal with the users of CometD's chat demo.
#[derive(Debug, clap::Args)]
#[command(override_usage = "bayeux chat [OPTIONS] [URL] <NICKNAME>", after_help = with_exit_codes!(
    "In the chat: /who lists the members, /quit (or ^D, ^C) leaves, /help lists the commands; the up and down keys recall \
     earlier lines.\n\
     Without a terminal, it reads and prints lines.\n\n\
     Example:\n  bayeux chat http://127.0.0.1:8080/cometd ann --room demo"
))]
pub(crate) struct Chat {
    /// The URL of the server. Default: BAYEUX_URL, or the URL of the context.
    pub(crate) url: Option<String>,
    /// Your name in the chat room.
    pub(crate) nickname: Option<String>,
    /// The chat room.
    #[arg(long, default_value = "demo", value_parser = room)]
    pub(crate) room: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Run a session for another program: JSON commands on standard input, JSON events on standard output, one per line.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    r#"Commands:
  {"subscribe": "/chat/**"}
  {"unsubscribe": "/chat/**"}
  {"publish": "/chat/demo", "data": …, "tag": 7}
  {"request": "/service/echo", "data": …, "tag": 8}
  {"close": true}
A command may have a tag, any JSON value; the outcome of the command repeats it.
The end of the input closes the session too.

Output lines, by "type":
  opened        transport
  subscribed    channel, tag
  unsubscribed  channel, tag
  message       channel, data
  reply         channel, tag, and the server's reply or the service's data
  error         kind, text, tag, and code if the server sent one
  event         event, and the fields of that event
  closed        reason, text
docs/pipe.md describes each field.

Example:
  echo '{"publish": "/chat/demo", "data": {"user": "ann", "chat": "hi"}}' | bayeux pipe URL"#
))]
pub(crate) struct Pipe {
    /// The URL of the server. Default: BAYEUX_URL, or the URL of the context.
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Load a server with chat rooms, and measure throughput and latency.
///
/// The load is that of CometD's own load test, with the same parameters and defaults. Each client joins some rooms. Then
/// the clients publish batches in turn, each to a room with members. Every received copy is counted, with the time since
/// it was published.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "The server must let every client subscribe and publish below /bench. Many clients need many open files \
     (ulimit -n).\n\n\
     Examples:\n  bayeux bench http://127.0.0.1:8080/cometd --clients 100 --transport websocket\n  \
     bayeux bench URL --batches 5000 --batch-pause 1ms --json | jq .latency_us"
))]
pub(crate) struct Bench {
    /// The URL of the server. Default: BAYEUX_URL, or the URL of the context.
    pub(crate) url: Option<String>,
    /// The channel of the rooms, below /bench.
    #[arg(long, default_value = "/a", value_parser = below_bench)]
    pub(crate) channel: String,
    /// The number of rooms.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rooms: u32,
    /// The number of rooms that each client joins.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rooms_per_client: u32,
    /// The number of clients.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) clients: u32,
    /// The number of batches to publish.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batches: u32,
    /// The number of messages in a batch.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch_size: u32,
    /// The time from the start of one batch to the start of the next.
    #[arg(long, value_parser = duration, default_value = "10ms")]
    pub(crate) batch_pause: Duration,
    /// The length of the text of a message, in bytes.
    #[arg(long, default_value_t = 50)]
    pub(crate) message_size: u32,
    /// Pick the publishing clients at random, not in turn.
    #[arg(long)]
    pub(crate) randomize: bool,
    /// Use the acknowledge extension.
    #[arg(long)]
    pub(crate) ack: bool,
    /// How many times to repeat the run, with the same clients.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) iterations: u32,
    /// Print JSON instead of text: one object per iteration.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// How to connect.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The context to use (see `bayeux context`). Default: BAYEUX_CONTEXT, or the context in use. If a URL is given, no
    /// context is used by default.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
    /// Wait until the server is up, at most this long; "none" waits without limit.
    #[arg(long, value_name = "DURATION", value_parser = time_limit, num_args = 0..=1, require_equals = true,
        default_missing_value = "1m")]
    pub(crate) wait: Option<TimeLimit>,
    /// How long the connection may stay lost before the command fails; "none" waits without limit. A chat never fails; a
    /// pipe prints an error and goes on.
    #[arg(long, value_name = "DURATION", value_parser = time_limit, default_value = "10s")]
    pub(crate) outage_timeout: TimeLimit,
    /// How long connecting may take: name resolution, TCP, TLS and the WebSocket upgrade.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub(crate) connect_timeout: Duration,
    /// The largest message to send, and the largest body or frame to receive. Default: 1MiB to send, 16MiB to receive.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_message_size: Option<usize>,
    /// The longest wait that the server may ask for before the next connect or attempt.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1h")]
    pub(crate) max_advised_wait: Duration,
    /// Print the events of the connection as JSON lines on standard error.
    #[arg(long)]
    pub(crate) events: bool,
    /// Log each message sent and received on standard error, with secrets masked.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// How to reach a server, and the credentials for it: the options that a context can store.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Access {
    /// Another server of the same cluster, tried if the previous one cannot be reached. Can be repeated, in the order to try.
    #[arg(long, value_name = "URL")]
    pub(crate) fallback_url: Vec<String>,
    /// A transport to use. Can be repeated, in the order of preference. Default: websocket, then long-polling.
    #[arg(long, value_name = "NAME", value_parser = transports())]
    pub(crate) transport: Vec<Transport>,
    /// A header for each request, "Name: value"; @FILE reads one per line from a file.
    #[arg(long, value_name = "HEADER|@FILE")]
    pub(crate) header: Vec<String>,
    /// A cookie for each request, name=value; @FILE reads one per line from a file.
    #[arg(long, value_name = "COOKIE|@FILE")]
    pub(crate) cookie: Vec<String>,
    /// Send the token in this file as "Authorization: Bearer …". The file is read again if the server refuses the token.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "bearer_env")]
    pub(crate) bearer_file: Option<PathBuf>,
    /// Send the token in this environment variable as "Authorization: Bearer …".
    #[arg(long, value_name = "NAME")]
    pub(crate) bearer_env: Option<String>,
    /// A key of the handshake's ext field and its value as JSON; KEY=@FILE reads the value from a file.
    #[arg(long, value_name = "KEY=JSON")]
    pub(crate) ext: Vec<String>,
    /// Trust the certificates in this PEM file too: certificate authorities, or the server's own certificate.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// The client certificate to present (PEM).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Connect through this proxy, such as http://user:password@host:3128 or socks5h://host; "none" uses no proxy.
    /// Default: the proxy variables of the environment.
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Trust any certificate. Anyone between client and server can then read and change everything.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Send cookies that the server marked as Secure over http:// and ws:// too, where others can read them.
    #[arg(long)]
    pub(crate) secure_cookies_over_http: bool,
}

/// Store the URLs and credentials of servers under names.
#[derive(Debug, clap::Args)]
#[command(after_help = with_exit_codes!(
    "Contexts are stored in the file that BAYEUX_CONFIG names, otherwise in bayeux/config.toml in the user's configuration \
     directory. Only the user can read it. Secrets are never printed. They can also stay outside of the file: \
     --bearer-file, --bearer-env and @FILE refer to them.\n\n\
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
        /// The name: letters, digits, - and _.
        name: String,
        /// The server.
        url: String,
        #[command(flatten)]
        access: Box<Access>,
        /// Replace an existing context of this name.
        #[arg(long)]
        replace: bool,
        /// Use it from now on.
        #[arg(long = "use")]
        and_use: bool,
    },
    /// List the contexts; * marks the context in use.
    Ls,
    /// Use a context from now on if no URL is given.
    Use {
        /// The name.
        name: String,
    },
    /// Remove a context.
    Rm {
        /// The name.
        name: String,
    },
    /// Show a context without its secrets.
    Show {
        /// The name. Default: the context in use.
        name: Option<String>,
    },
}

/// A time limit; `None` for no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit(pub(crate) Option<Duration>);

fn duration(text: &str) -> Result<Duration, String> {
    // Longer than any useful wait, and short enough to be added to an `Instant`.
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    let time =
        humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 500ms, 10s or 2m"))?;
    if time > CENTURY { Err("that is more than a century".to_owned()) } else { Ok(time) }
}

fn time_limit(text: &str) -> Result<TimeLimit, String> {
    if text == "none" { Ok(TimeLimit(None)) } else { duration(text).map(|time| TimeLimit(Some(time))) }
}

/// The transports that the client supports.
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
        _ => {
            Err("the name of a chat room is one segment of a channel: letters, digits and -_!~()$@"
                .to_owned())
        }
    }
}
