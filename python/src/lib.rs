//! The native module of the Python package `aiobayeux`: the crate `bayeux` for asyncio.
//!
//! It holds what must be fast or must not know of Python: the client, the way of its results to event loops (`port`), and
//! messages as Python objects (`convert`). Everything with aiocometd's shape is in the Python modules of the package.

#![forbid(unsafe_code)]

mod bell;
mod cli;
mod client;
mod convert;
mod filter;
mod logging;
mod options;
mod port;
mod runtime;
mod testing;

#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::cli::run_cli;
    #[pymodule_export]
    use crate::client::{NativeClient, NativeEvents, NativeStream, check_channel, loads};
    #[pymodule_export]
    use crate::convert::Failure;
    #[pymodule_export]
    use crate::logging::{has_log_records, set_log_level, take_log_records};
    #[pymodule_export]
    use crate::options::check_url;
    #[pymodule_export]
    use crate::port::Port;
    #[pymodule_export]
    use crate::testing::{NativePeer, NativeProxy, NativeServer, client_certificate, throwaway_certificate};
}
