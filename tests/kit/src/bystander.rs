//! A process of a test's own, beside those of its containers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure of the kit is a failure of the test")]

use std::ops::{Deref, DerefMut};
use std::process::{Child, Command};

/// It is ended when it is dropped.
#[derive(Debug)]
pub struct Bystander(Child);

impl Bystander {
    /// Starts it.
    #[must_use]
    pub fn new(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}")))
    }

    /// One that sleeps.
    #[must_use]
    pub fn asleep() -> Self {
        Self::new(Command::new("sleep").arg("99"))
    }

    /// Whether nobody has ended it.
    #[must_use]
    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Deref for Bystander {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Bystander {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
