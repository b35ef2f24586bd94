//! `mainstem`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstem_cli::main()
}
