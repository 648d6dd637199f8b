//! `bayeux chat`: a room of CometD's chat demo in the terminal.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use bayeux::{Client, Error, Event, Message, State};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesOrdered;
use serde::Deserialize;
use serde_json::json;

use crate::args::{self, Chat};
use crate::failure::Failure;
use crate::narrator::Narrator;
use crate::screen::{self, Screen};
use crate::target::Target;
use crate::{arguments, session};

/// How long announcing that the user leaves may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many lines may wait for their replies. The next line is read when a reply has arrived.
const MAX_UNCONFIRMED: usize = 256;

const QUIT: &str = "/quit";

const COMMANDS: &str = "/who lists the members, /quit (or ^D, ^C) leaves, //text sends /text";

/// A message on `/chat/ROOM`.
#[derive(Debug, Deserialize)]
struct Line {
    user: String,
    chat: String,
    /// Set if this announces that a user joins or leaves; it is not a line of a user then.
    membership: Option<String>,
}

/// The chat room as this user sees it.
struct Room<'a> {
    nickname: &'a str,
    chat: String,
    members: String,
    /// The members; `None` until the server has sent the list. Not every server does.
    present: Option<BTreeSet<String>>,
    /// Lines that were sent and have not come back yet.
    said: VecDeque<String>,
}

/// A publish in progress: the line, if it is a line of the user, and the outcome.
type Sending<'a> = LocalBoxFuture<'a, (Option<String>, Result<(), Error>)>;

pub(crate) async fn run(options: Chat) -> Result<(), Failure> {
    let (url, nickname) = arguments::before_nickname(options.url, options.nickname);
    let nickname = nickname.ok_or_else(|| arguments::missing("NICKNAME", "bayeux chat [URL] <NICKNAME>"))?;
    let nickname = args::nickname(&nickname).map_err(Failure::Usage)?;
    let target = Target::new(url, &options.connection)?;
    let client = session::client(&target, &options.connection)?;
    if options.connection.events {
        session::print_events(&client);
    }
    session::guard(&client, async {
        let mut events = client.events();
        client.open().await?;
        let mut room = Room::new(&nickname, &options.room);
        client.subscribe(&room.chat).await?;
        client.subscribe(&room.members).await?;
        talk(&client, &mut events, &mut room, &options.room).await
    })
    .await
}

async fn talk(
    client: &Client,
    events: &mut bayeux::Events,
    room: &mut Room<'_>,
    name: &str,
) -> Result<(), Failure> {
    let (mut typed, mut screen) = screen::open(format!("{}> ", room.nickname), QUIT);
    let mut narrator = Narrator::default();
    screen.note(&format!("You are {} in {name}. /help lists the commands.", room.nickname))?;
    let mut sending: FuturesOrdered<Sending<'_>> = FuturesOrdered::new();
    sending.push_back(room.enter(client));
    sending.push_back(room.announce(client, "join", "has joined"));
    loop {
        tokio::select! {
            // Events come first, before what follows from them. Messages come last, so that many of them do not delay input.
            biased;
            Some(event) = events.next() => {
                if let Some(sentence) = narrator.describe(&event) {
                    screen.note(&sentence)?;
                }
                // The server knows the member by its session, which is new.
                if matches!(event, Event::Rehandshaken) {
                    room.present = None;
                    sending.push_back(room.enter(client));
                }
            },
            Some((text, outcome)) = sending.next() => {
                if let Err(error) = outcome {
                    room.not_sent(text.as_deref(), &error, &mut screen)?;
                }
            },
            line = typed.next(), if sending.len() < MAX_UNCONFIRMED => match line.transpose() {
                Err(why) => screen.note(&format!("not sent: {why}"))?,
                Ok(line) => match line.as_deref().map(str::trim) {
                None | Some(QUIT) => break,
                Some("") => {}
                Some("/help") => screen.note(COMMANDS)?,
                Some("/who") => screen.note(&room.who())?,
                Some(line) => match (line.strip_prefix("//"), line.strip_prefix('/')) {
                    (Some(text), _) => sending.push_back(room.say(client, format!("/{text}"))),
                    (None, Some(_)) => {
                        let command = line.split_whitespace().next().unwrap_or_default();
                        screen.note(&format!("{command} is not a command: {COMMANDS}"))?;
                    }
                    (None, None) => sending.push_back(room.say(client, line.to_owned())),
                },
                },
            },
            message = client.receive() => match message {
                Ok(message) => room.show(&message, &mut screen)?,
                // The event has been reported already.
                Err(_) if !client.is_closed() => {}
                Err(error) => return Err(error.into()),
            },
        }
    }
    leave(client, room, sending, &mut screen).await
}

/// Completes the pending publishes, announces that the user leaves, and shows the messages that have arrived.
async fn leave(
    client: &Client,
    room: &mut Room<'_>,
    mut sending: FuturesOrdered<Sending<'_>>,
    screen: &mut Screen,
) -> Result<(), Failure> {
    while let Some((text, outcome)) = sending.next().await {
        if let Err(error) = outcome {
            room.not_sent(text.as_deref(), &error, screen)?;
        }
    }
    if client.state() == State::Connected {
        // The user leaves whether or not this arrives.
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, room.announce(client, "leave", "has left")).await;
    }
    while client.pending_count() > 0 {
        let Ok(message) = client.receive().await else { break };
        room.show(&message, screen)?;
    }
    Ok(())
}

impl<'a> Room<'a> {
    fn new(nickname: &'a str, room: &str) -> Self {
        Self {
            nickname,
            chat: format!("/chat/{room}"),
            members: format!("/members/{room}"),
            present: None,
            said: VecDeque::new(),
        }
    }

    /// Joins the list of members that the demo's service keeps. A server without that service has no list.
    fn enter<'c>(&self, client: &'c Client) -> Sending<'c> {
        let join = json!({"user": self.nickname, "room": self.chat});
        Box::pin(async move {
            match client.publish("/service/members", &join).await {
                Err(error) if !error.is_server() => (None, Err(error)),
                _ => (None, Ok(())),
            }
        })
    }

    /// Announces to the others that this user joins or leaves, as the demo's web page does.
    fn announce<'c>(&self, client: &'c Client, membership: &str, what: &str) -> Sending<'c> {
        let chat = format!("{} {what}", self.nickname);
        let line = json!({"user": self.nickname, "membership": membership, "chat": chat});
        let channel = self.chat.clone();
        Box::pin(async move { (None, client.publish(&channel, &line).await.map(drop)) })
    }

    fn say<'c>(&mut self, client: &'c Client, text: String) -> Sending<'c> {
        self.said.push_back(text.clone());
        let line = json!({"user": self.nickname, "chat": text});
        let channel = self.chat.clone();
        Box::pin(async move { (Some(text), client.publish(&channel, &line).await.map(drop)) })
    }

    fn not_sent(&mut self, text: Option<&str>, error: &Error, screen: &mut Screen) -> io::Result<()> {
        let Some(text) = text else { return screen.note(&error.to_string()) };
        if let Some(at) = self.said.iter().position(|said| said == text) {
            self.said.remove(at);
        }
        screen.note(&format!("not sent: {text} ({error})"))
    }

    fn who(&self) -> String {
        match &self.present {
            None => "the server has not sent a list of members; not every server does".to_owned(),
            Some(present) => format!("here: {}", list(present)),
        }
    }

    fn show(&mut self, message: &Message, screen: &mut Screen) -> io::Result<()> {
        if message.channel() == self.members.as_str() {
            return match message.data().decode() {
                Ok(now) => self.show_members(now, screen),
                Err(_) => Ok(()),
            };
        }
        match message.data().decode::<Line>() {
            // If there is a list of members, it is used: it also covers users who leave without an announcement.
            Ok(line) if line.membership.is_some() => {
                if self.present.is_none() && line.user != self.nickname {
                    screen.note(&line.chat)?;
                }
                Ok(())
            }
            Ok(line) if self.is_echo(&line) && screen.shows_what_is_typed() => Ok(()),
            Ok(line) => screen.said(&line.user, &line.chat),
            Err(_) => Ok(()),
        }
    }

    /// Whether this is a line of this user that has come back from the server.
    fn is_echo(&mut self, line: &Line) -> bool {
        if line.user != self.nickname {
            return false;
        }
        let at = self.said.iter().position(|said| *said == line.chat);
        at.is_some_and(|at| self.said.remove(at).is_some())
    }

    fn show_members(&mut self, now: BTreeSet<String>, screen: &mut Screen) -> io::Result<()> {
        match &self.present {
            None => screen.note(&format!("here: {}", list(&now)))?,
            Some(before) => {
                for name in now.difference(before) {
                    screen.note(&format!("{name} has joined"))?;
                }
                for name in before.difference(&now) {
                    screen.note(&format!("{name} has left"))?;
                }
            }
        }
        self.present = Some(now);
        Ok(())
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
