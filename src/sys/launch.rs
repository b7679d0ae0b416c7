//! How this process was started, and so how its workers are.
//!
//! One function owns the question. The answer is never /proc/self/exe: an upgrade replaces the file
//! behind a path, which that link no longer names; and a command of a Python package runs inside an
//! interpreter.
//!
//! Not here: the worker's command line (`cli`), what it inherits (`inherit`).

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program and the arguments it was given, with the program's path made absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchCommand {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl LaunchCommand {
    /// How this process was started. To be asked before the working directory changes.
    ///
    /// # Errors
    /// There is no argument 0, or the working directory is gone.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let program = arguments.next().ok_or(io::ErrorKind::NotFound)?;
        let directory = env::current_dir()?;
        let path = env::var_os("PATH").unwrap_or_default();
        let program = locate(&program, &directory, &path, std::path::Path::is_file)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this program's own file"))?;
        let arguments = arguments.collect();
        Ok(LaunchCommand { program, arguments: absolute_script(arguments, &directory) })
    }

    /// A program by its file.
    pub fn of(program: PathBuf, arguments: Vec<OsString>) -> Self {
        LaunchCommand { program, arguments }
    }

    /// The program's file.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What it was given, the program itself left out.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The same program with the same arguments. The file may hold another version by now.
    pub fn same_command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }

    /// A Python program as a worker, with the arguments that this one was given behind `serve`.
    pub fn python_worker_command(&self, interpreter: &Path) -> Command {
        let mut command = Command::new(interpreter);
        command.args(["-m", "maitred.worker"]);
        let serve = self.arguments.iter().position(|argument| argument == "serve");
        command.args(self.arguments.iter().skip(serve.map_or(0, |at| at + 1)));
        command
    }

    /// The same program as a worker: `worker` in the place of `serve`, the same arguments behind.
    pub fn worker_command(&self) -> Command {
        self.command_as("worker")
    }

    /// The same program as the helper that operators talk to.
    pub fn helper_command(&self) -> Command {
        self.command_as("admin")
    }

    fn command_as(&self, role: &str) -> Command {
        let mut command = Command::new(&self.program);
        let mut arguments = self.arguments.iter();
        let serve = self.arguments.iter().position(|argument| argument == "serve");
        command.args(arguments.by_ref().take(serve.unwrap_or(0)));
        command.arg(role);
        command.args(arguments.skip(usize::from(serve.is_some())));
        command
    }
}

/// Where a program's file is: as execvp(3) would find it.
fn locate(
    program: &OsStr,
    directory: &Path,
    path: &OsStr,
    is_file: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let program = Path::new(program);
    if program.components().count() > 1 || program.is_absolute() {
        return Some(directory.join(program));
    }
    env::split_paths(path)
        .map(|folder| directory.join(folder).join(program))
        .find(|file| is_file(file))
}

/// An interpreter's script is named by a path in front of the command; workers may run in another
/// directory than this.
fn absolute_script(mut arguments: Vec<OsString>, directory: &Path) -> Vec<OsString> {
    let command = arguments.iter().position(|argument| argument == "serve").unwrap_or(0);
    for argument in &mut arguments[..command] {
        let path = Path::new(&*argument);
        if path.components().count() > 1 && path.is_relative() && directory.join(path).is_file() {
            *argument = directory.join(path).into_os_string();
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_the_shell_found_it() {
        let directory = Path::new("/home/a");
        let find = |program: &str, exists: &str| {
            let exists = exists.to_owned();
            locate(OsStr::new(program), directory, OsStr::new("/usr/bin:bin"), move |file| {
                file == Path::new(&exists)
            })
        };
        assert_eq!(find("/opt/maitred", ""), Some("/opt/maitred".into()));
        assert_eq!(find("./maitred", ""), Some("/home/a/./maitred".into()));
        assert_eq!(find("target/maitred", ""), Some("/home/a/target/maitred".into()));
        assert_eq!(find("maitred", "/usr/bin/maitred"), Some("/usr/bin/maitred".into()));
        assert_eq!(find("maitred", "/home/a/bin/maitred"), Some("/home/a/bin/maitred".into()));
        assert_eq!(find("maitred", ""), None);
    }

    #[test]
    fn a_script_is_found_from_another_directory_too() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        std::fs::create_dir(directory.join("bin")).unwrap();
        std::fs::write(directory.join("bin/maitred"), "").unwrap();
        let absolute =
            |words: &[&str]| absolute_script(words.iter().map(OsString::from).collect(), directory);
        let script = directory.join("bin/maitred").into_os_string();
        let words = absolute(&["-E", "bin/maitred", "serve", "bin/maitred"]);
        assert_eq!(words, ["-E".into(), script, "serve".into(), OsString::from("bin/maitred")]);
        assert_eq!(absolute(&["-m", "maitred", "serve"]), ["-m", "maitred", "serve"]);
        assert_eq!(absolute(&["worker", "bin/maitred"]), ["worker", "bin/maitred"]);
    }

    #[test]
    fn a_worker_gets_the_servers_own_arguments() {
        let launch = LaunchCommand {
            program: "/bin/maitred".into(),
            arguments: ["--log-level", "debug", "serve", "echo", "-w", "2"]
                .map(OsString::from)
                .into(),
        };
        let command = launch.worker_command();
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["--log-level", "debug", "worker", "echo", "-w", "2"]);
        let command = launch.python_worker_command(Path::new("/venv/bin/python"));
        assert_eq!(command.get_program(), "/venv/bin/python");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["-m", "maitred.worker", "echo", "-w", "2"]);
    }
}
