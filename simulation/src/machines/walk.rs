//! The way of an execution, or of one item or branch of it, through the states of its machine. Every
//! step is noted, to be compared with those that the real machine may take.

use std::sync::Arc;

use real_shared::error::TaskError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::definition::{How, Machine, Retries};
use crate::Platform;
use crate::world::{Broken, World};

pub(crate) struct Walk<'a> {
    pub(crate) world: &'a World,
    pub(crate) platform: &'a Arc<Platform>,
    machine: Machine,
    at: &'static str,
    how: How,
}

impl<'a> Walk<'a> {
    /// Begins in the machine itself, or inside of one of its states.
    pub(crate) fn begin(
        world: &'a World,
        platform: &'a Arc<Platform>,
        machine: Machine,
        outside: &'static str,
    ) -> Self {
        let (at, how) = (outside, How::Begins);
        Self {
            world,
            platform,
            machine,
            at,
            how,
        }
    }

    /// Begins inside of the state that this walk is at.
    pub(crate) fn inside(&self) -> Self {
        Self::begin(self.world, self.platform, self.machine, self.at)
    }

    /// Comes to a state.
    pub(crate) fn enter(&mut self, state: &'static str) {
        let step = (self.machine, self.at, self.how, state);
        self.world.state().steps.insert(step);
        (self.at, self.how) = (state, How::Goes);
    }

    /// The state that this walk is at is left with an error that is caught.
    pub(crate) fn catch(&mut self) {
        self.how = How::Fails;
    }

    /// What catches an error of the state that this walk is at.
    pub(crate) fn catcher(&self, broken: &Broken) -> &'static Value {
        self.machine.catcher(self.at, &broken.error)
    }

    /// The number that a choice compares a variable with.
    pub(crate) fn bound(&self, choice: &str, variable: &str) -> i64 {
        self.machine.bound(choice, variable)
    }

    /// Waits some seconds.
    pub(crate) async fn wait(&mut self, state: &'static str, seconds: i64) {
        self.enter(state);
        self.world.sleep(seconds).await;
    }

    /// Has the task of a state done, with the retries of the state.
    pub(crate) async fn task<I, O, H, F>(
        &mut self,
        state: &'static str,
        input: Value,
        handle: H,
    ) -> Result<O, Broken>
    where
        I: DeserializeOwned + 'static,
        O: 'static,
        H: Fn(Arc<Platform>, I) -> F + Copy + 'static,
        F: Future<Output = Result<O, TaskError>> + 'static,
    {
        self.enter(state);
        let mut retries = Retries::of(self.machine.state(state));
        let world = self.world;
        loop {
            let invocation = world.start(self.platform, state, &input, handle);
            let answer = world.until(|state| state.answers.remove(&invocation)).await;
            let broken = match answer {
                Ok(output) => {
                    world.state().open_invocations.remove(&invocation);
                    return Ok(*output.downcast().expect("it is the output of the task"));
                }
                Err(broken) => broken,
            };
            let goes_on = pause(world, &mut retries, &broken).await;
            world.state().open_invocations.remove(&invocation);
            if !goes_on {
                self.catch();
                return Err(broken);
            }
        }
    }
}

/// Waits until an error is to be tried again. `false` when it is not.
pub(crate) async fn pause(world: &World, retries: &mut Retries, broken: &Broken) -> bool {
    let Some(longest) = retries.after(&broken.error) else {
        return false;
    };
    let pause = world.state().rng.i64(0..=longest);
    world.sleep(pause).await;
    true
}
