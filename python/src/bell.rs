//! How a port notifies its event loop.

use std::sync::Arc;

use pyo3::prelude::*;

/// A socket that becomes readable, or a callback for loops that watch no sockets.
pub(crate) struct Bell {
    #[cfg(unix)]
    socket: Option<(std::os::unix::net::UnixStream, std::os::unix::net::UnixStream)>,
    notify: Option<Arc<Py<PyAny>>>,
    handle: tokio::runtime::Handle,
}

impl Bell {
    pub(crate) fn new(notify: Option<Py<PyAny>>) -> PyResult<Self> {
        let handle = crate::runtime::handle()?;
        let notify = notify.map(Arc::new);
        #[cfg(unix)]
        {
            let mut socket = None;
            if notify.is_none() {
                let pair = std::os::unix::net::UnixStream::pair()?;
                pair.0.set_nonblocking(true)?;
                pair.1.set_nonblocking(true)?;
                socket = Some(pair);
            }
            Ok(Self { socket, notify, handle })
        }
        #[cfg(not(unix))]
        Ok(Self { notify, handle })
    }

    pub(crate) fn fileno(&self) -> Option<i32> {
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;
            self.socket.as_ref().map(|(reader, _)| reader.as_raw_fd())
        }
        #[cfg(not(unix))]
        None
    }

    pub(crate) fn ring(&self) {
        #[cfg(unix)]
        if let Some((_, writer)) = &self.socket {
            use std::io::Write;
            // A full socket is readable anyway, and a closed one has no loop.
            let _ = (&*writer).write(&[1]);
            return;
        }
        // Taking the interpreter's lock may wait, which must not hold up the runtime. An interpreter that is ending gets nothing.
        if let Some(notify) = self.notify.clone() {
            // The call fails if the loop is closed.
            self.handle.spawn_blocking(move || Python::try_attach(|py| notify.call0(py).is_ok()));
        }
    }

    /// Makes the socket unreadable again.
    pub(crate) fn silence(&self) {
        #[cfg(unix)]
        if let Some((reader, _)) = &self.socket {
            use std::io::Read;
            let mut bytes = [0; 64];
            while matches!((&*reader).read(&mut bytes), Ok(read) if read == bytes.len()) {}
        }
    }
}
