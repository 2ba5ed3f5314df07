//! `update`: other limits for a container that runs.

use std::str::FromStr;

use libcrun::spec::{self, BlockIo, Cpu, Memory, Pids, Resources};
use libcrun::{Code, Error, Result};

use super::create::unsupported;
use super::{Context, read};
use crate::size;

pub(super) fn update(context: &Context<'_>) -> Result<i32> {
    let resources = match context.value("resources") {
        Some(file) => spec::parse_resources(&read(file)?, file)?,
        None => resources(&Given(&|option| context.value(option)))?,
    };
    libcrun::update(&context.root(), &context.id()?, &resources)?
        .iter()
        .for_each(|warning| context.log.warn(warning));
    Ok(0)
}

/// The values of the options that were given.
struct Given<'a>(&'a dyn Fn(&str) -> Option<&'a str>);

impl<'a> Given<'a> {
    /// An option without a value is as good as none.
    fn text(&self, option: &str) -> Option<&'a str> {
        self.0(option).filter(|text| !text.is_empty())
    }

    fn number<T: FromStr>(&self, option: &str) -> Result<Option<T>> {
        self.parsed(option, |text| text.parse().ok(), "a valid number")
    }

    fn size(&self, option: &str) -> Result<Option<i64>> {
        self.parsed(option, size::bytes, "a size as in `1048576`, `512m` or `-1`")
    }

    fn parsed<T>(
        &self,
        option: &str,
        parse: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>> {
        let Some(text) = self.text(option) else { return Ok(None) };
        let wrong = || Error::new(Code::InvalidOption, format!("--{option}: `{text}` is not {expected}"));
        parse(text).map(Some).ok_or_else(wrong)
    }
}

fn resources(given: &Given<'_>) -> Result<Resources> {
    for option in ["l3-cache-schema", "mem-bw-schema"] {
        if given.text(option).is_some() {
            return Err(unsupported(&format!("--{option}")));
        }
    }
    Ok(Resources {
        memory: Some(Memory {
            limit: given.size("memory")?,
            reservation: given.size("memory-reservation")?,
            swap: given.size("memory-swap")?,
            kernel: given.size("kernel-memory")?,
            kernel_tcp: given.size("kernel-memory-tcp")?,
            ..Memory::default()
        }),
        cpu: Some(Cpu {
            shares: given.number("cpu-share")?,
            quota: given.number("cpu-quota")?,
            burst: given.number("cpu-burst")?,
            period: given.number("cpu-period")?,
            realtime_runtime: given.number("cpu-rt-runtime")?,
            realtime_period: given.number("cpu-rt-period")?,
            cpus: given.text("cpuset-cpus").map(str::to_owned),
            mems: given.text("cpuset-mems").map(str::to_owned),
            idle: given.number("cpu-idle")?,
        }),
        pids: given.number("pids-limit")?.map(|limit| Pids { limit }),
        block_io: given
            .number("blkio-weight")?
            .map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() }),
        ..Resources::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Resources> {
        resources(&Given(&|name| pairs.iter().find(|(option, _)| *option == name).map(|(_, value)| *value)))
    }

    #[test]
    fn every_option_has_its_place() {
        let options = [
            ("blkio-weight", "10"),
            ("cpu-burst", "1"),
            ("cpu-idle", "0"),
            ("cpu-period", "2"),
            ("cpu-quota", "-1"),
            ("cpu-rt-period", "4"),
            ("cpu-rt-runtime", "5"),
            ("cpu-share", "6"),
            ("cpuset-cpus", "0-3"),
            ("cpuset-mems", "0"),
            ("kernel-memory", "1k"),
            ("kernel-memory-tcp", "2k"),
            ("memory", "3k"),
            ("memory-reservation", "4k"),
            ("memory-swap", "-1"),
            ("pids-limit", "7"),
        ];
        let expected = r#"{
            "blockIO": {"weight": 10}, "pids": {"limit": 7},
            "cpu": {"burst": 1, "idle": 0, "period": 2, "quota": -1, "realtimePeriod": 4, "realtimeRuntime": 5,
                    "shares": 6, "cpus": "0-3", "mems": "0"},
            "memory": {"kernel": 1024, "kernelTCP": 2048, "limit": 3072, "reservation": 4096, "swap": -1}}"#;
        assert_eq!(from(&options).unwrap(), spec::parse_resources(expected.as_bytes(), "x").unwrap());
        let known = cli::table::command("update").unwrap().options;
        for option in known.iter().map(|option| option.long) {
            let is_elsewhere = ["resources", "l3-cache-schema", "mem-bw-schema"].contains(&option);
            assert!(is_elsewhere || options.iter().any(|(name, _)| *name == option), "{option}");
        }
    }

    #[test]
    fn no_option_is_no_limit() {
        assert!(!from(&[]).unwrap().has_limits());
        assert!(!from(&[("memory", ""), ("cpuset-cpus", "")]).unwrap().has_limits());
    }

    #[test]
    fn a_value_that_is_none_is_named_with_its_option() {
        for (option, value) in [
            ("memory", "1x"),
            ("cpu-share", "x"),
            ("cpu-share", "-1"),
            ("cpu-quota", "1.5"),
            ("blkio-weight", "70000"),
            ("pids-limit", "9223372036854775808"),
        ] {
            let message = from(&[(option, value)]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("--{option}: `{value}` is not ")), "{message}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let error = from(&[("l3-cache-schema", "L3:0=f")]).unwrap_err();
        assert_eq!(error.code(), Code::Unsupported);
        assert!(error.to_string().starts_with("--l3-cache-schema"));
    }
}
