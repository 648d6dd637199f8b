//! Events of `tracing` for Python's `logging`.
//!
//! The threads of the runtime keep records in a bounded queue; event loops, and at the end the exit of the interpreter, hand
//! them to Python. No thread of the runtime ever waits for the interpreter.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::port::Inner;

/// How many records wait at most; more are dropped and counted.
const MOST: usize = 10_000;

/// The lowest level that Python wants, in its numbers; 255: nothing.
static LEVEL: AtomicU8 = AtomicU8::new(u8::MAX);
static WAITING: Mutex<Waiting> =
    Mutex::new(Waiting { records: VecDeque::new(), dropped: 0, ports: Vec::new() });

struct Waiting {
    records: VecDeque<(&'static str, u8, String)>,
    dropped: u64,
    /// The ports that can deliver, the newest last.
    ports: Vec<Weak<Inner>>,
}

fn lock() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Uses a port for records from now on.
pub(crate) fn deliver_to(port: &Arc<Inner>) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A program that has set another one keeps it.
        let _ = tracing::subscriber::set_global_default(Queue);
    });
    let mut waiting = lock();
    waiting.ports.retain(|port| port.strong_count() > 0);
    waiting.ports.push(Arc::downgrade(port));
}

struct Queue;

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

impl Subscriber for Queue {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("bayeux") && number(*metadata.level()) >= LEVEL.load(Ordering::Relaxed)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let mut waiting = lock();
        if waiting.records.len() >= MOST {
            waiting.dropped += 1;
            return;
        }
        waiting.records.push_back((metadata.target(), number(*metadata.level()), text.0));
        let port = waiting.ports.iter().rev().find_map(Weak::upgrade);
        drop(waiting);
        if let Some(port) = port {
            port.nudge();
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message of an event, with its fields after it.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match (field.name(), self.0.is_empty()) {
            ("message", true) => write!(self.0, "{value:?}"),
            ("message", false) => {
                self.0.insert_str(0, &format!("{value:?} "));
                Ok(())
            }
            (name, true) => write!(self.0, "{name}={value:?}"),
            (name, false) => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// Sets the lowest level of records, in Python's numbers.
#[pyfunction]
pub(crate) fn set_log_level(level: u8) {
    if LEVEL.swap(level, Ordering::Relaxed) != level {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Takes the records: target, level, text. A last one counts those that were dropped.
#[pyfunction]
pub(crate) fn take_log_records() -> Vec<(&'static str, u8, String)> {
    let mut waiting = lock();
    let mut records: Vec<_> = waiting.records.drain(..).collect();
    let dropped = std::mem::take(&mut waiting.dropped);
    if dropped > 0 {
        records.push(("bayeux", 30, format!("{dropped} log records were dropped, because too many waited")));
    }
    records
}

/// Whether there are any.
#[pyfunction]
pub(crate) fn has_log_records() -> bool {
    !lock().records.is_empty()
}
