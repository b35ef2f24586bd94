//! The operations page as a program: its blocks, and a shell that runs them as an operator would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::tools::workspace;

/// `deploy/OPERATIONS.md`, read into what can be run.
pub struct Page {
    /// Shell commands, by the name in the comment `<!-- run: name -->` before them.
    pub blocks: BTreeMap<String, String>,
    /// Lines of a configuration, by the name in `<!-- line: name -->`.
    pub lines: BTreeMap<String, String>,
}

impl Page {
    /// Reads the page.
    ///
    /// # Panics
    /// When it is not there, or has a block of commands without a name.
    #[must_use]
    pub fn load() -> Self {
        let page = workspace().join("deploy/OPERATIONS.md");
        Self::parse(&std::fs::read_to_string(page).expect("the operations page"))
    }

    /// Reads its text.
    ///
    /// # Panics
    /// When a block of commands has no name, or two have the same.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (mut blocks, mut lines) = (BTreeMap::new(), BTreeMap::new());
        let mut name: Option<(&str, &str)> = None;
        let mut open: Option<String> = None;
        for line in text.lines() {
            match (&mut open, line.strip_prefix("```")) {
                (Some(body), Some(_)) => {
                    let (kind, name) =
                        name.take().unwrap_or_else(|| panic!("a block has no name:\n{body}"));
                    let place = if kind == "run" { &mut blocks } else { &mut lines };
                    let earlier = place.insert(name.to_owned(), std::mem::take(body));
                    assert!(earlier.is_none(), "two blocks are called {name}");
                    open = None;
                }
                (Some(body), None) => {
                    body.push_str(line);
                    body.push('\n');
                }
                (None, Some(_)) => open = Some(String::new()),
                (None, None) => {
                    let comment =
                        line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                    name = comment.and_then(|comment| comment.split_once(": ")).or(name);
                }
            }
        }
        Self { blocks, lines }
    }
}

/// Where and how an operator's commands run.
pub struct Shell {
    /// The folder of `docker-compose.yml`, or a test's stand-in for it.
    pub folder: PathBuf,
    /// The environment over the test's own.
    pub environment: BTreeMap<String, String>,
    /// What a block says, and what this deployment has instead: ports, mostly.
    pub instead: Vec<(String, String)>,
}

/// What came of a block.
#[derive(Debug)]
pub struct Said {
    /// Every command ended well.
    pub well: bool,
    /// What was printed, on either stream, in order.
    pub text: String,
}

impl Shell {
    /// A shell in a folder. `programs` comes first on its `PATH`; whatever the programs keep for
    /// their user is kept in the folder.
    #[must_use]
    pub fn new(folder: &Path, programs: &Path) -> Self {
        let path = crate::tools::variable("PATH").unwrap_or_default();
        let home = folder.join("home").display().to_string();
        let environment = [
            ("PATH", format!("{}:{path}", programs.display())),
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", home),
        ];
        Self {
            folder: folder.to_owned(),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
            instead: Vec::new(),
        }
    }

    /// Runs a block; it ends at the first command that fails.
    ///
    /// # Panics
    /// When bash cannot be started.
    #[must_use]
    pub fn run(&self, block: &str) -> Said {
        let mut script = block.to_owned();
        for (said, meant) in &self.instead {
            script = script.replace(said, meant);
        }
        let output = Command::new("bash")
            .args(["-c", "exec 2>&1; set -euo pipefail; eval \"$1\"", "bash", &script])
            .current_dir(&self.folder)
            .envs(&self.environment)
            .stdin(Stdio::null())
            .output()
            .expect("bash starts");
        Said {
            well: output.status.success(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }

    /// The same; gives what was printed.
    ///
    /// # Panics
    /// When a command fails.
    #[must_use]
    pub fn well(&self, block: &str) -> String {
        let said = self.run(block);
        assert!(said.well, "this failed:\n{block}\nand said:\n{}", said.text);
        said.text
    }
}

/// Puts a program under another name into a folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn put(folder: &Path, name: &str, program: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::os::unix::fs::symlink(program, folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_names_and_the_rest_is_text() {
        let page = Page::parse(
            "# T\n<!-- run: one -->\n```sh\na\nb\n```\ntext `c`\n\n<!-- line: two -->\n```yaml\n  d: e\n```\n",
        );
        assert_eq!(page.blocks["one"], "a\nb\n");
        assert_eq!(page.lines["two"], "  d: e\n");
    }

    #[test]
    fn a_block_ends_at_the_first_failure_and_says_what_was_printed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut shell = Shell::new(folder.path(), folder.path());
        shell.instead.push(("4222".to_owned(), "14222".to_owned()));
        let said = shell.run("echo port 4222\nfalse\necho never");
        assert!(!said.well);
        assert_eq!(said.text, "port 14222\n");
    }
}
