//! What a container is made of: the bundle and its configuration, read.

use std::path::PathBuf;

use super::CreateOptions;
use crate::error::{Code, Context, Result, doing};
use crate::explain;
use crate::input;
use crate::spec::{self, Spec};

/// The bundle, and the text of the configuration.
pub(super) struct Given {
    pub(super) bundle: PathBuf,
    pub(super) config: Vec<u8>,
    config_path: PathBuf,
}

impl Given {
    pub(super) fn read(options: &CreateOptions) -> Result<Self> {
        let bundle = std::fs::canonicalize(&options.bundle)
            .context(Code::InvalidConfig, || doing("chdir", &options.bundle).then(" failed"))
            .map_err(|error| explain::closed(error, &options.bundle.join("config.json")))?;
        let config_path = match &options.config {
            Some(path) => path.clone(),
            None => bundle.join("config.json"),
        };
        let config = input::read_file(&config_path).map_err(|error| explain::closed(error, &config_path))?;
        Ok(Self { bundle, config, config_path })
    }

    pub(super) fn spec(&self) -> Result<Spec<'_>> {
        spec::parse(&self.config, &self.config_path.to_string_lossy())
    }
}
