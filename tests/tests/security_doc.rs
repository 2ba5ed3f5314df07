//! What docs/security.md says is shown by tests that exist.

#![cfg(test)]
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// All Rust files below a directory.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_test_and_file_that_the_document_names_exists() {
    if kit::lane::current().is_some() {
        return kit::crun::skipped("the sources are not here");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut files = Vec::new();
    sources(&root.join("tests/tests"), &mut files);
    sources(&root.join("crates"), &mut files);
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let (mut tests, mut missing) = (0, Vec::new());
    for name in names {
        let (file, function) = match name.split_once("::") {
            Some((file, function)) => (format!("{file}.rs"), Some(format!("fn {function}()"))),
            None if name.ends_with(".rs") => {
                (name.replace("sys/", "sys/src/").replace("cgroups/", "cgroups/src/"), None)
            }
            None => continue,
        };
        tests += usize::from(function.is_some());
        let is_it = |path: &PathBuf| {
            let same = path.ends_with(&file);
            same && function
                .as_ref()
                .is_none_or(|function| fs::read_to_string(path).unwrap().contains(function))
        };
        if !files.iter().any(is_it) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(tests > 60, "only {tests} tests are named");
}
