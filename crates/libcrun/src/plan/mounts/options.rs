//! The options of one entry of `mounts`, summed up.

use std::ffi::CString;

use sys::mount::{MountAttr, MountChange, Propagation, Reach};

use super::{Parameter, invalid};
use crate::error::Result;
use crate::mount_options::{self, Effect, Special};

/// What the options of an entry come to.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) bind: Option<Reach>,
    pub(super) remount: bool,
    /// For the mount alone and for its whole tree.
    changes: [MountChange; 2],
    propagation: Option<(Propagation, Reach)>,
    /// Flags of the filesystem from the table; a bind, which makes no filesystem, leaves them alone.
    pub(super) flags: Vec<Parameter>,
    /// What the table does not know, for the filesystem.
    pub(super) parameters: Vec<Parameter>,
    /// The idmap options, with what is behind the equals sign.
    pub(super) idmap: Option<(Reach, Option<String>)>,
    specials: Vec<Special>,
}

impl Options {
    pub(super) fn parse<'o>(options: impl Iterator<Item = &'o str>, name: &str) -> Result<Self> {
        let mut parsed = Self::default();
        for option in options {
            match mount_options::effect(option) {
                Some(effect) => parsed.apply(effect),
                None => parsed.apply_other(option, name)?,
            }
        }
        Ok(parsed)
    }

    /// Whether a special option was given.
    pub(super) fn has(&self, special: Special) -> bool {
        self.specials.contains(&special)
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Set(attribute, reach) => {
                let change = self.change(reach);
                change.set |= attribute;
                change.clear -= attribute;
            }
            Effect::Clear(attribute, reach) => {
                let change = self.change(reach);
                change.set -= attribute;
                change.clear |= attribute;
            }
            Effect::AccessTime(mode, reach) => {
                let change = self.change(reach);
                change.set = (change.set - MountAttr::ATIME_MODES) | mode;
                change.clear |= MountAttr::ATIME_MODES;
            }
            Effect::Propagation(propagation, reach) => self.propagation = Some((propagation, reach)),
            Effect::Bind(reach) => self.bind = Some(reach),
            Effect::Remount => self.remount = true,
            Effect::Filesystem(flag) => self.flags.push(Parameter::Flag(flag.to_owned())),
            Effect::WhereKnown(flag) => self.flags.push(Parameter::WhereKnown(flag.to_owned())),
            Effect::Idmap(reach) => self.idmap = Some((reach, None)),
            Effect::Special(special) => self.specials.push(special),
            Effect::Default => {}
        }
    }

    /// An option with a value, or one of the filesystem's; empty ones (from a trailing comma) are none.
    fn apply_other(&mut self, option: &str, name: &str) -> Result<()> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| invalid(format!("{name}: an option holds a NUL byte")))
        };
        match option.split_once('=') {
            _ if option.is_empty() => {}
            None => self.parameters.push(Parameter::Flag(text(option)?)),
            Some((key, value)) => match mount_options::effect(key) {
                Some(Effect::Idmap(reach)) => self.idmap = Some((reach, Some(value.to_owned()))),
                _ => self.parameters.push(Parameter::Value(text(key)?, text(value)?)),
            },
        }
        Ok(())
    }

    fn change(&mut self, reach: Reach) -> &mut MountChange {
        &mut self.changes[usize::from(reach == Reach::Tree)]
    }

    /// Takes out what a mount that is to be made can be made with: there is nothing to be cleared then.
    pub(super) fn take_attributes(&mut self) -> MountAttr {
        std::mem::take(&mut self.changes[0]).set
    }

    /// What is left to be changed once the mount exists, the propagation included.
    pub(super) fn into_changes(
        self,
        default_propagation: Option<(Propagation, Reach)>,
    ) -> Vec<(MountChange, Reach)> {
        let [mount, tree] = self.changes;
        let propagation = self.propagation.or(default_propagation).map(|(propagation, reach)| {
            (MountChange { propagation: Some(propagation), ..MountChange::default() }, reach)
        });
        [Some((tree, Reach::Tree)), Some((mount, Reach::Mount)), propagation]
            .into_iter()
            .flatten()
            .filter(|(change, _)| !change.is_empty())
            .collect()
    }
}
