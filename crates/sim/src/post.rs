//! The books of all messages: who published what, whether the server took it, and what its sender was told.

use bayeux_proto::client::{CallError, CallResult};

use crate::law::Law;
use crate::ledger::Wrong;

/// Every message of a lifetime, by its number.
#[derive(Debug, Default)]
pub(crate) struct Post {
    letters: Vec<Letter>,
    takings: u64,
}

#[derive(Debug)]
struct Letter {
    client: usize,
    /// Whether its sender allowed it to be sent again.
    repeatable: bool,
    taken: u32,
    /// Its place in the order in which the server took messages first.
    place: u64,
    /// Its sender was told that the server has it.
    confirmed: bool,
    /// Its sender was told that the server never got it.
    void: bool,
}

impl Post {
    /// A new message, and its number.
    pub(crate) fn write(&mut self, client: usize, repeatable: bool) -> u32 {
        self.letters.push(Letter { client, repeatable, taken: 0, place: 0, confirmed: false, void: false });
        u32::try_from(self.letters.len() - 1).unwrap_or(u32::MAX)
    }

    /// The server takes a message.
    pub(crate) fn take(&mut self, number: u32) -> Result<(), Wrong> {
        self.takings += 1;
        let place = self.takings;
        let Some(letter) = self.letters.get_mut(number as usize) else { return Ok(()) };
        letter.taken += 1;
        if letter.taken == 1 {
            letter.place = place;
        }
        if letter.void {
            return Err((
                Law::Outcome,
                format!("message {number} reached the server, and its sender was told it did not"),
            ));
        }
        if letter.taken > 1 && !letter.repeatable {
            return Err((
                Law::AtMostOnce,
                format!("message {number} reached the server {} times", letter.taken),
            ));
        }
        Ok(())
    }

    /// How often the server took a message.
    pub(crate) fn taken(&self, number: u32) -> u32 {
        self.letters.get(number as usize).map_or(0, |letter| letter.taken)
    }

    /// The sender is told what became of a message.
    pub(crate) fn tell(&mut self, number: u32, outcome: &CallResult) -> Result<(), Wrong> {
        let Some(letter) = self.letters.get_mut(number as usize) else { return Ok(()) };
        match outcome {
            Ok(_) if letter.taken == 0 => {
                return Err((
                    Law::Outcome,
                    format!("message {number} is confirmed, and the server never took it"),
                ));
            }
            Ok(_) => letter.confirmed = true,
            // A session that ends says nothing about what was on its way.
            Err(
                CallError::Closed(_)
                | CallError::Transport { fate_unknown: true, .. }
                | CallError::Timeout { fate_unknown: true, .. },
            ) => {}
            Err(_) => letter.void = true,
        }
        if letter.void && letter.taken > 0 {
            return Err((
                Law::Outcome,
                format!("message {number} is said not to have been taken, and it was"),
            ));
        }
        Ok(())
    }

    /// Whether the server took the confirmed messages of each client in the order in which they were published.
    pub(crate) fn order(&self) -> Result<(), (usize, Wrong)> {
        let mut last: std::collections::BTreeMap<usize, (usize, u64)> = std::collections::BTreeMap::new();
        for (number, letter) in self.letters.iter().enumerate().filter(|(_, letter)| letter.confirmed) {
            let before = last.insert(letter.client, (number, letter.place));
            if let Some((other, place)) = before
                && place > letter.place
            {
                let what = format!("message {number} was published after {other}, and taken before it");
                return Err((letter.client, (Law::PublishOrder, what)));
            }
        }
        Ok(())
    }

    /// How many bytes these books take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.letters.capacity() * std::mem::size_of::<Letter>()
    }

    /// How many messages the server took, and how many of them more than once.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let taken = self.letters.iter().filter(|letter| letter.taken > 0).count();
        let doubled = self.letters.iter().filter(|letter| letter.taken > 1).count();
        (taken as u64, doubled as u64)
    }
}

#[cfg(test)]
mod tests {
    use bayeux_proto::{Channel, Message};

    use super::*;

    fn law(outcome: Result<(), Wrong>) -> Option<Law> {
        outcome.err().map(|(law, _)| law)
    }

    fn confirmed() -> CallResult {
        Ok(Message::new(Channel::from_wire("/a")))
    }

    #[test]
    fn a_message_taken_twice_is_noticed_unless_its_sender_allows_it() {
        let mut post = Post::default();
        let (once, often) = (post.write(0, false), post.write(0, true));
        for _ in 0..2 {
            assert_eq!(law(post.take(often)), None);
        }
        assert_eq!(law(post.take(once)), None);
        assert_eq!(law(post.take(once)), Some(Law::AtMostOnce));
    }

    #[test]
    fn a_false_outcome_is_noticed_whenever_it_turns_out() {
        let mut post = Post::default();
        let (early, late, never) = (post.write(0, false), post.write(0, false), post.write(0, false));
        let refused = || Err(CallError::Offline);
        assert_eq!(law(post.take(early)), None);
        assert_eq!(law(post.tell(early, &refused())), Some(Law::Outcome));
        assert_eq!(law(post.tell(late, &refused())), None);
        assert_eq!(law(post.take(late)), Some(Law::Outcome));
        assert_eq!(law(post.tell(never, &confirmed())), Some(Law::Outcome));
    }

    #[test]
    fn messages_taken_out_of_order_are_noticed() {
        let mut post = Post::default();
        let (first, second, others) = (post.write(0, false), post.write(0, false), post.write(1, false));
        for number in [second, others, first] {
            assert_eq!(law(post.take(number)), None);
            assert_eq!(law(post.tell(number, &confirmed())), None);
        }
        assert_eq!(post.order().map_err(|(client, (law, _))| (client, law)), Err((0, Law::PublishOrder)));
    }
}
