//! The one tokio runtime of the process.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};
use tokio::task::JoinHandle;

/// Two threads carry thousands of clients: they only move bytes, while Python's own thread does the work.
const THREADS: usize = 2;

static CURRENT: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// Returns the runtime of this process, which is started on first use. After a fork the child starts one of its own,
/// because the threads of its parent's do not exist in it.
pub(crate) fn handle() -> PyResult<Handle> {
    let pid = std::process::id();
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((owner, runtime)) = *current
        && owner == pid
    {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("aiobayeux")
        .enable_all()
        .build()
        .map_err(|error| {
            PyRuntimeError::new_err(format!("the threads of aiobayeux cannot be started: {error}"))
        })?;
    // It lives as long as the process: its threads never touch Python objects, so nothing has to end before the interpreter.
    let runtime: &'static Runtime = Box::leak(Box::new(runtime));
    *current = Some((pid, runtime));
    Ok(runtime.handle().clone())
}

/// Runs a future to its end while other Python threads go on.
pub(crate) fn block_on<F: Future + Send>(py: Python<'_>, future: F) -> PyResult<F::Output>
where
    F::Output: Send,
{
    let handle = handle()?;
    Ok(py.detach(|| handle.block_on(future)))
}

/// The process that made an object, which no other may use.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pid: u32,
    handle: Handle,
}

impl Owner {
    pub(crate) fn new() -> PyResult<Self> {
        Ok(Self { pid: std::process::id(), handle: handle()? })
    }

    /// Fails in a forked child.
    pub(crate) fn check(&self) -> PyResult<()> {
        if self.pid == std::process::id() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "this object of aiobayeux belongs to process {}, and this is its forked child {}: make a new client in the child",
            self.pid,
            std::process::id()
        )))
    }

    pub(crate) fn enter(&self) -> PyResult<EnterGuard<'_>> {
        self.check()?;
        Ok(self.handle.enter())
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.handle.spawn(future)
    }
}
