//! The way of results from the threads of the runtime to one event loop of asyncio.
//!
//! The threads never take the interpreter's lock. They leave what they have in the port of the loop and write one byte to a
//! socket that the loop watches, once for each burst; the loop then takes everything at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use bayeux::Message;
use pyo3::prelude::*;
use pyo3::types::PyList;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::bell::Bell;
use crate::convert::{Form, error_object, message_object, refusal_object};
use crate::filter::{Question, Verdict};
use crate::runtime::Owner;

/// Makes an object once the interpreter's lock is held.
type Make = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// What a call ended with.
pub(crate) enum Outcome {
    Nothing,
    Message(Box<Message>, Form),
    Messages(Vec<Result<Message, bayeux::Error>>, Form),
    Text(String),
    Object(Make),
    Failed(bayeux::Error, Form),
    Refused(Box<Message>, Form),
}

/// The port of one event loop.
#[pyclass(frozen, module = "aiobayeux._native")]
pub(crate) struct Port {
    pub(crate) owner: Owner,
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    state: Mutex<State>,
    bell: Bell,
}

#[derive(Default)]
struct State {
    /// The loop has been notified of what is here.
    rung: bool,
    done: Vec<(u64, Outcome)>,
    ready: Vec<u64>,
    questions: Vec<(u64, u64, Question)>,
    tasks: HashMap<u64, AbortHandle>,
    answers: HashMap<u64, oneshot::Sender<Verdict>>,
    last_question: u64,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, mut state: MutexGuard<'_, State>) {
        if !std::mem::replace(&mut state.rung, true) {
            drop(state);
            self.bell.ring();
        }
    }

    /// Lets the loop look for log records.
    pub(crate) fn nudge(&self) {
        self.ring(self.lock());
    }

    fn complete(&self, token: u64, outcome: Outcome) {
        let mut state = self.lock();
        if state.tasks.remove(&token).is_some() {
            state.done.push((token, outcome));
            self.ring(state);
        }
    }

    /// Hands a question for the extensions of a client to the loop.
    pub(crate) fn ask(&self, client: u64, question: Question) -> oneshot::Receiver<Verdict> {
        let (answer, wait) = oneshot::channel();
        let mut state = self.lock();
        // Those whose asker has given up.
        state.answers.retain(|_, answer| !answer.is_closed());
        state.last_question += 1;
        let number = state.last_question;
        state.answers.insert(number, answer);
        state.questions.push((client, number, question));
        self.ring(state);
        wait
    }
}

impl Port {
    /// Runs a call on the threads of the runtime. Its outcome goes to the loop under the token.
    pub(crate) fn start<F>(&self, token: u64, call: F) -> PyResult<()>
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        self.owner.check()?;
        let inner = Arc::clone(&self.inner);
        // The call completes after the lock is released, and finds its entry.
        let mut state = self.inner.lock();
        let task = self.owner.spawn(async move { inner.complete(token, call.await) });
        state.tasks.insert(token, task.abort_handle());
        Ok(())
    }

    /// A waker that hands the token to the loop.
    pub(crate) fn waker(&self, token: u64) -> std::task::Waker {
        Arc::new(Ready { port: Arc::clone(&self.inner), token }).into()
    }
}

struct Ready {
    port: Arc<Inner>,
    token: u64,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        let mut state = self.port.lock();
        if !state.ready.contains(&self.token) {
            state.ready.push(self.token);
        }
        self.port.ring(state);
    }
}

/// Outcomes of calls with their tokens; tokens of what is ready; questions with the tokens of their clients and their numbers.
type Taken<'py> = (Vec<(u64, Bound<'py, PyAny>)>, Vec<u64>, Vec<(u64, u64, Bound<'py, PyAny>)>);

#[pymethods]
impl Port {
    /// A port that calls `notify` on a thread of its own, or, without one, makes its socket readable.
    #[new]
    #[pyo3(signature = (notify=None))]
    fn new(notify: Option<Py<PyAny>>) -> PyResult<Self> {
        let owner = Owner::new()?;
        let bell = Bell::new(notify)?;
        let port = Self { owner, inner: Arc::new(Inner { state: Mutex::default(), bell }) };
        crate::logging::deliver_to(&port.inner);
        Ok(port)
    }

    /// The socket to watch.
    fn fileno(&self) -> Option<i32> {
        self.inner.bell.fileno()
    }

    /// Whether the port was made by this process.
    fn is_ours(&self) -> bool {
        self.owner.check().is_ok()
    }

    /// Gives a call up.
    fn cancel(&self, token: u64) {
        if let Some(task) = self.inner.lock().tasks.remove(&token) {
            task.abort();
        }
    }

    /// Takes all that is here: the outcomes of calls, the tokens of what is ready, and the questions for extensions.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Taken<'py>> {
        let mut state = self.inner.lock();
        self.inner.bell.silence();
        state.rung = false;
        let done = std::mem::take(&mut state.done);
        let ready = std::mem::take(&mut state.ready);
        let questions = std::mem::take(&mut state.questions);
        drop(state);
        let done = done
            .into_iter()
            .map(|(token, outcome)| Ok((token, outcome.into_object(py)?)))
            .collect::<PyResult<_>>()?;
        let questions = questions
            .into_iter()
            .map(|(client, number, question)| Ok((client, number, question.into_object(py)?)))
            .collect::<PyResult<_>>()?;
        Ok((done, ready, questions))
    }

    /// The answer to a question: the payload and the headers that go on.
    fn answer(&self, question: u64, body: Vec<u8>, headers: Vec<(String, String)>) {
        if let Some(answer) = self.inner.lock().answers.remove(&question) {
            // The asker may have given up.
            let _ = answer.send(Verdict::Pass(body, headers));
        }
    }

    /// The extensions leave a payload and its headers as they are.
    fn pass_unchanged(&self, question: u64) {
        if let Some(answer) = self.inner.lock().answers.remove(&question) {
            let _ = answer.send(Verdict::Unchanged);
        }
    }

    /// An extension failed.
    fn refuse(&self, question: u64, reason: String) {
        if let Some(answer) = self.inner.lock().answers.remove(&question) {
            let _ = answer.send(Verdict::Refuse(reason));
        }
    }
}

impl Outcome {
    fn into_object(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(match self {
            Self::Nothing => py.None().into_bound(py),
            Self::Message(message, form) => message_object(py, &message, form)?,
            Self::Text(text) => text.into_pyobject(py)?.into_any(),
            Self::Object(make) => make(py)?.into_bound(py),
            Self::Failed(error, form) => error_object(py, &error, form)?,
            Self::Refused(reply, form) => {
                refusal_object(py, &reply, "the server refused".to_owned(), false, form)?
            }
            Self::Messages(results, form) => {
                let list = PyList::empty(py);
                for result in &results {
                    list.append(match result {
                        Ok(message) => message_object(py, message, form)?,
                        Err(error) => error_object(py, error, form)?,
                    })?;
                }
                list.into_any()
            }
        })
    }
}
