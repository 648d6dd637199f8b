//! The command `bayeux`.

fn main() -> std::process::ExitCode {
    bayeux_cli::run(std::env::args_os()).into()
}
