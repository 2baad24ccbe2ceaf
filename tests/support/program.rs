//! Programs whose output can be read while they run.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Finished, state, wait_until};

/// A program whose outputs can be read while it runs. It is killed if the test ends before it does.
pub struct Program {
    pub child: Child,
    stdout: File,
    stderr: File,
    entered: usize,
}

impl Program {
    pub fn start(mut command: Command) -> Self {
        // Files, not pipes: they can be read at any moment, and nobody need read them.
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let child = command
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self { child, stdout, stderr, entered: 0 }
    }

    /// Starts a program that stops at its steps, and waits there for [`enter`](Self::enter).
    pub fn start_stepping(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        Self::start(command)
    }

    /// Starts a program that stops at its steps, and presses Enter until it stops before this one.
    #[track_caller]
    pub fn start_at(command: Command, next: &str) -> Self {
        let mut program = Self::start_stepping(command);
        program.step_to(next);
        program
    }

    /// Starts a program that stops, with an Enter for each of its stops, and more.
    pub fn start_with_enters(command: Command) -> Self {
        let mut program = Self::start_stepping(command);
        let stdin = program.child.stdin.as_mut().unwrap();
        stdin.write_all("\n".repeat(100).as_bytes()).unwrap();
        program
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn is_alive(&self) -> bool {
        !matches!(state(self.pid()), None | Some('Z' | 'X'))
    }

    pub fn printed(&self) -> String {
        text(&self.stdout)
    }

    #[track_caller]
    pub fn until_printed(&self, text: &str) {
        self.until_said(&self.stdout, text);
    }

    #[track_caller]
    pub fn until_complained(&self, text: &str) {
        self.until_said(&self.stderr, text);
    }

    #[track_caller]
    fn until_said(&self, output: &File, text: &str) {
        // What it has said before it ended is there when it has ended.
        wait_until(text, || !self.is_alive() || self::text(output).contains(text));
        let said = self::text(output);
        assert!(said.contains(text), "it has ended without {text:?}: {said:?}");
    }

    /// Stops it, by a signal that it cannot catch.
    #[track_caller]
    pub fn stop(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        wait_until("it is stopped", || state(self.pid()) == Some('T'));
    }

    pub fn go_on(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    /// Presses Enter until it stops before this step.
    #[track_caller]
    pub fn step_to(&mut self, next: &str) {
        loop {
            wait_until("it stops before a step", || {
                !self.is_alive() || stops(&self.printed()) > self.entered
            });
            let printed = self.printed();
            assert!(self.is_alive(), "it has ended before {next:?}: {printed}");
            let here = printed.rfind("[next: ").expect("it names the next step");
            if printed[here..].contains(next) {
                return;
            }
            self.enter();
        }
    }

    pub fn enter(&mut self) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").unwrap();
        self.entered += 1;
    }

    /// The end of its input: it does not stop any more.
    pub fn enter_for_ever(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end, which must come without a complaint, and takes what was printed.
    #[track_caller]
    pub fn finish_well(self) -> String {
        let finished = self.finish();
        let outcome = (finished.code, finished.stderr.as_str());
        assert_eq!(outcome, (Some(0), ""), "it printed {}", finished.text());
        finished.text().to_owned()
    }

    /// Waits for the end, and takes what was printed.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let mut status = None;
        wait_until("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        Finished {
            stdout: contents(&self.stdout),
            stderr: String::from_utf8(contents(&self.stderr)).unwrap(),
            code: status.code(),
            signal: status.signal(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the file without moving the place at which the program writes.
fn contents(file: &File) -> Vec<u8> {
    let mut contents = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut contents, 0).unwrap();
    contents
}

fn text(file: &File) -> String {
    String::from_utf8_lossy(&contents(file)).into_owned()
}

/// How often it has stopped.
pub fn stops(text: &str) -> usize {
    text.matches("[Enter goes on]").count()
}
