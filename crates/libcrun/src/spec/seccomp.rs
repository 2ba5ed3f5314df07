//! `linux.seccomp`: which system calls the container may make (runtime-spec config-linux.md#seccomp).

use seccomp::Profile;
use serde::Deserialize;

use super::Text;
use crate::error::{Result, words};

/// The profile of the container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp<'a> {
    /// What happens to calls that no rule is for.
    #[serde(borrow, default)]
    pub default_action: Option<Text<'a>>,
    /// The error it gives.
    #[serde(default)]
    pub default_errno_ret: Option<u32>,
    /// The architectures besides that of the machine.
    #[serde(borrow, default)]
    pub architectures: Option<Vec<Text<'a>>>,
    /// How the filter is put in force.
    #[serde(borrow, default)]
    pub flags: Option<Vec<Text<'a>>>,
    /// The socket of who answers for calls.
    #[serde(borrow, default)]
    pub listener_path: Option<Text<'a>>,
    /// What is said there about the container.
    #[serde(borrow, default)]
    pub listener_metadata: Option<Text<'a>>,
    /// The rules.
    #[serde(borrow, default)]
    pub syscalls: Option<Vec<Syscall<'a>>>,
}

/// One entry of `linux.seccomp.syscalls`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Syscall<'a> {
    /// The calls it is for.
    #[serde(borrow)]
    pub names: Vec<Text<'a>>,
    /// What happens to them.
    #[serde(borrow)]
    pub action: Text<'a>,
    /// The error it gives.
    #[serde(default)]
    pub errno_ret: Option<u32>,
    /// What has to hold of the arguments.
    #[serde(borrow, default)]
    pub args: Option<Vec<Argument<'a>>>,
}

/// One entry of `args` of those.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument<'a> {
    /// Which argument, from 0.
    pub index: u32,
    /// What it is compared with.
    pub value: u64,
    /// What a masked argument is compared with.
    #[serde(default)]
    pub value_two: u64,
    /// How.
    #[serde(borrow)]
    pub op: Text<'a>,
}

impl Seccomp<'_> {
    /// The profile as the compiler takes it.
    ///
    /// # Errors
    /// When it does not say what happens to calls that no rule is for.
    pub fn profile(&self) -> Result<Profile<'_>> {
        let default_action = self.default_action.as_deref().filter(|action| !action.is_empty());
        Ok(Profile {
            default_action: default_action.ok_or_else(words::no_default_action)?,
            default_errno: self.default_errno_ret,
            architectures: self.architectures.iter().flatten().map(|name| &**name).collect(),
            rules: self.syscalls.iter().flatten().map(Syscall::rule).collect(),
        })
    }
}

impl Syscall<'_> {
    fn rule(&self) -> seccomp::Rule<'_> {
        seccomp::Rule {
            names: self.names.iter().map(|name| &**name).collect(),
            action: &self.action,
            errno: self.errno_ret,
            arguments: self.args.iter().flatten().map(Argument::condition).collect(),
        }
    }
}

impl Argument<'_> {
    fn condition(&self) -> seccomp::Argument<'_> {
        let Self { index, value, value_two, .. } = *self;
        seccomp::Argument { index, value, value_two, operator: &self.op }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_keeps_what_the_configuration_says() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86"],
            "syscalls":[{"names":["a","b"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":1,"value":18446744073709551615,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"},
                {"index":0,"value":2,"op":"SCMP_CMP_EQ"}]},
                {"names":["c"],"action":"SCMP_ACT_ERRNO","errnoRet":7}]}"#;
        let seccomp: Seccomp<'_> = serde_json::from_str(text).unwrap();
        let profile = seccomp.profile().unwrap();
        assert_eq!((profile.default_action, profile.default_errno), ("SCMP_ACT_ERRNO", Some(38)));
        assert_eq!(profile.architectures, ["SCMP_ARCH_X86"]);
        let [first, second] = profile.rules.as_slice() else { panic!("two rules") };
        assert_eq!((first.names.as_slice(), first.errno), (["a", "b"].as_slice(), None));
        let condition =
            |index, value, value_two, operator| seccomp::Argument { index, value, value_two, operator };
        let conditions = [condition(1, u64::MAX, 3, "SCMP_CMP_MASKED_EQ"), condition(0, 2, 0, "SCMP_CMP_EQ")];
        assert_eq!(first.arguments, conditions);
        assert_eq!((second.action, second.errno), ("SCMP_ACT_ERRNO", Some(7)));
    }

    #[test]
    fn a_profile_without_a_default_action_is_none() {
        for text in ["{}", r#"{"defaultAction":null}"#, r#"{"defaultAction":""}"#] {
            let seccomp: Seccomp<'_> = serde_json::from_str(text).unwrap();
            assert_eq!(seccomp.profile().unwrap_err().to_string(), "seccomp misses the default action");
        }
    }
}
