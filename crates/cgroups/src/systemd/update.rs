//! Other limits for a unit that exists.

use super::limits;
use super::manager::{Manager, Refusal, patience};
use super::missing::MissingProperties;
use crate::error::Result;
use crate::resources::Write;

/// Tells systemd what is written into a unit's cgroup, all of it or nothing: so that it does not put the former limits
/// back when it next goes over its units. It writes them itself too, with less precision than there may be, so they are to
/// be written once more afterwards. What systemd has no property for is not its concern.
///
/// # Errors
/// Names the unit and what systemd says.
pub fn update_unit(unit: &str, is_rootless: bool, writes: &[Write], cache: &MissingProperties) -> Result<()> {
    let mut properties = limits::properties(writes);
    if properties.is_empty() {
        return Ok(());
    }
    let missing = cache.names();
    properties.retain(|property| !missing.contains(&*property.name));
    let mut manager = Manager::connect(is_rootless, patience())?;
    while !properties.is_empty() {
        match manager.set_properties(unit, &properties) {
            Ok(()) => return Ok(()),
            Err(Refusal::Property(name)) if properties.iter().any(|property| property.name == name) => {
                cache.note(&name);
                properties.retain(|property| property.name != name);
            }
            Err(refusal) => return Err(refusal.into_error()),
        }
    }
    Ok(())
}
