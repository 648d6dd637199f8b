//! `bayeux completions`

use crate::running::bayeux;

#[test]
fn each_shell_gets_a_script_with_commands_options_and_values() {
    for (shell, beginning) in
        [("bash", "_bayeux() {"), ("zsh", "#compdef bayeux"), ("fish", "# Print an optspec")]
    {
        let output = bayeux(&["completions", shell]).assert().success().get_output().clone();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.starts_with(beginning), "{shell}: {}", script.lines().next().unwrap_or_default());
        for word in ["subscribe", "inspect", "outage-timeout", "long-polling"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
}

/// A script with a mistake breaks the shell of the user who sources it. Which shells exist depends on the machine.
#[test]
fn the_scripts_are_sound_where_their_shell_is_installed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = bayeux(&["completions", shell]).assert().success().get_output().stdout.clone();
        let checked = snapbox::cmd::Command::new(shell).arg("-n").stdin(script).output();
        if let Ok(output) = checked {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn an_unknown_shell_is_reported() {
    bayeux(&["completions", "cobol"]).assert().code(2);
}
