//! What a container's unit is called and where it lies: from `linux.cgroupsPath` to the unit, its slice and its cgroup.
//!
//! Sources: systemd.unit(5), systemd.slice(5).

use crate::error::{Error, Result};
use crate::path::CgroupPath;

/// The unit that holds a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// The slice it is in; systemd chooses one where the configuration does not.
    pub slice: Option<String>,
}

/// The longest name of a unit there may be.
const LONGEST_NAME: usize = 255;

impl Unit {
    /// The unit for `linux.cgroupsPath` as it stands in the configuration, `slice:prefix:name` or a name alone, or else
    /// for the container `id`.
    ///
    /// # Errors
    /// When that is no name of a unit or of a slice.
    pub fn new(configured: Option<&str>, id: &str, is_rootless: bool) -> Result<Self> {
        let unit = match configured.filter(|path| !path.is_empty()) {
            None => Self { name: format!("crun-{id}.scope"), slice: None },
            Some(path) => match path.split(':').collect::<Vec<_>>().as_slice() {
                [slice, name] => {
                    Self { name: named("", name), slice: Some(slice_or_usual(slice, is_rootless)) }
                }
                [slice, prefix, name @ ..] => Self {
                    name: named(prefix, &name.join(":")),
                    slice: Some(slice_or_usual(slice, is_rootless)),
                },
                _ => Self { name: format!("{path}.scope"), slice: None },
            },
        };
        let invalid = |what: &str| {
            let given = configured.unwrap_or(id);
            Error::plain(format!(
                "linux.cgroupsPath: `{given}`: {what}; with systemd it is `slice:prefix:name`"
            ))
        };
        if !is_unit_name(&unit.name) {
            return Err(invalid(&format!("`{}` is no name of a systemd unit", unit.name)));
        }
        match &unit.slice {
            Some(slice) if expand_slice(slice).is_none() => {
                Err(invalid(&format!("`{slice}` is no name of a systemd slice")))
            }
            _ => Ok(unit),
        }
    }

    /// Whether it is a slice: that holds no processes itself, and cannot be given to its processes to manage.
    #[must_use]
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// Where its cgroup will be, if the system's manager makes it; the user's has its own below that.
    #[must_use]
    pub fn expected_path(&self) -> CgroupPath {
        let slice = self.slice.as_deref().unwrap_or(SYSTEM_SLICE);
        let path = match self.is_slice() {
            true => expand_slice(&self.name).unwrap_or_default(),
            false => format!("{}/{}", expand_slice(slice).unwrap_or_default(), self.name),
        };
        CgroupPath::new(Some(&path), &self.name)
    }
}

/// Where systemd puts a scope by itself.
const SYSTEM_SLICE: &str = "system.slice";
const USER_SLICE: &str = "user.slice";

fn slice_or_usual(slice: &str, is_rootless: bool) -> String {
    match slice {
        "" if is_rootless => USER_SLICE.to_owned(),
        "" => SYSTEM_SLICE.to_owned(),
        slice => slice.to_owned(),
    }
}

/// `prefix-name.scope`; or a slice, which is called for by its name.
fn named(prefix: &str, name: &str) -> String {
    match (prefix, name.ends_with(".slice")) {
        (_, true) => name.to_owned(),
        ("", false) => format!("{name}.scope"),
        (prefix, false) => format!("{prefix}-{name}.scope"),
    }
}

fn is_unit_name(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
    name.len() <= LONGEST_NAME
        && !stem.is_empty()
        && name.bytes().all(fits)
        && (!name.ends_with(".slice") || expand_slice(name).is_some_and(|path| !path.is_empty()))
}

/// The path of a slice's cgroup: `a-b.slice` lies in `a.slice`, and `-.slice` is the root.
fn expand_slice(slice: &str) -> Option<String> {
    let stem = slice.strip_suffix(".slice")?;
    if stem == "-" {
        return Some(String::new());
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\".contains(&byte);
    let mut parts = stem.split('-');
    if slice.len() > LONGEST_NAME || !parts.all(|part| !part.is_empty() && part.bytes().all(fits)) {
        return None;
    }
    let ends = stem.match_indices('-').map(|(index, _)| index).chain([stem.len()]);
    let levels: Vec<String> = ends.map(|end| format!("{}.slice", &stem[..end])).collect();
    Some(levels.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> (String, Option<String>, String) {
        let unit = Unit::new(Some(path), "web", false).unwrap();
        let path = unit.expected_path().to_string();
        (unit.name, unit.slice, path)
    }

    #[test]
    fn a_path_of_three_parts_names_slice_and_scope() {
        let slice = Some("machine.slice".to_owned());
        let path = "/machine.slice/libpod-abc.scope".to_owned();
        assert_eq!(unit("machine.slice:libpod:abc"), ("libpod-abc.scope".into(), slice, path));
    }

    #[test]
    fn slices_lie_in_each_other() {
        assert_eq!(unit("a-b-c.slice:p:n").2, "/a.slice/a-b.slice/a-b-c.slice/p-n.scope");
        assert_eq!(unit("-.slice:p:n").2, "/p-n.scope");
    }

    #[test]
    fn without_a_slice_it_is_the_usual_one() {
        assert_eq!(unit(":p:n").1.as_deref(), Some("system.slice"));
        let rootless = Unit::new(Some(":p:n"), "web", true).unwrap();
        assert_eq!(rootless.slice.as_deref(), Some("user.slice"));
    }

    #[test]
    fn without_a_prefix_there_is_no_dash() {
        assert_eq!(unit("a.slice::n").0, "n.scope");
        assert_eq!(unit("a.slice:n").0, "n.scope");
    }

    #[test]
    fn what_follows_the_prefix_is_the_name_with_its_colons() {
        assert_eq!(unit("a.slice:p:x:y").0, "p-x:y.scope");
    }

    #[test]
    fn a_name_that_ends_in_slice_is_a_slice() {
        let unit = Unit::new(Some("a.slice:p:a-b.slice"), "web", false).unwrap();
        assert!(unit.is_slice());
        assert_eq!(unit.expected_path().to_string(), "/a.slice/a-b.slice");
    }

    #[test]
    fn without_a_path_the_scope_is_named_after_the_container_and_systemd_chooses_the_slice() {
        for path in [None, Some("")] {
            let unit = Unit::new(path, "web", false).unwrap();
            assert_eq!((unit.name.as_str(), &unit.slice), ("crun-web.scope", &None));
            assert_eq!(unit.expected_path().to_string(), "/system.slice/crun-web.scope");
        }
        assert_eq!(unit("foo").0, "foo.scope");
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_path_it_comes_from() {
        for path in [
            "/a/b",
            "a.slice:p:../x",
            "a.slice:p:n m",
            "a:p:n",
            "a--b.slice:p:n",
            "-a.slice:p:n",
            "../a.slice:p:n",
            "a/b.slice:p:n",
            ".slice:p:n",
            "a.slice:p:x--y.slice",
            "a.slice:p:-.slice",
            "a.slice:p:n\n",
            "a.slice:p:ü",
        ] {
            let error = Unit::new(Some(path), "web", false).unwrap_err();
            assert!(error.message.contains(&format!("`{path}`")), "{error}");
        }
        let long = format!("a.slice:p:{}", "x".repeat(300));
        assert!(Unit::new(Some(&long), "web", false).is_err());
    }
}
