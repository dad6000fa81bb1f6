//! Bars for what takes long: a download, a file of texts, a file of weights.

use std::time::{Duration, Instant};

use gllm::ExportProgress;
use gllm::hub::Progress;
use indicatif::{DecimalBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console::Console;
use crate::input::Input;
use crate::interrupt;

const TICK: Duration = Duration::from_millis(120);

/// A download, as a bar on a terminal and as a line elsewhere.
pub(crate) struct DownloadBar {
    model: String,
    console: Console,
    bar: ProgressBar,
}

impl DownloadBar {
    pub(crate) fn new(model: &str, console: Console) -> Self {
        Self { model: model.to_owned(), console, bar: ProgressBar::hidden() }
    }
}

impl Progress for DownloadBar {
    fn started(&mut self, files: usize, total_bytes: Option<u64>) {
        if self.console.draws_bars() {
            self.bar = drawn(
                total_bytes,
                "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} {msg}",
                "{spinner} {decimal_bytes} {decimal_bytes_per_sec} {msg}",
            );
        } else {
            let bytes = total_bytes.map_or_else(String::new, |bytes| format!(", {}", DecimalBytes(bytes)));
            self.console.note(&format!("downloading `{}`: {files} files{bytes}", self.model));
        }
    }

    fn file(&mut self, name: &str, _bytes: Option<u64>) {
        self.bar.set_message(name.to_owned());
    }

    fn advanced(&mut self, done_bytes: u64) {
        self.bar.set_position(done_bytes);
    }

    fn notice(&mut self, text: &str) {
        self.bar.suspend(|| self.console.note(text));
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

impl Drop for DownloadBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A file of weights that is written, as a bar on a terminal.
pub(crate) struct WeightsBar {
    console: Console,
    bar: ProgressBar,
}

impl WeightsBar {
    pub(crate) fn new(console: Console) -> Self {
        Self { console, bar: ProgressBar::hidden() }
    }
}

impl ExportProgress for WeightsBar {
    fn started(&mut self, _tensors: usize, bytes: u64) {
        if self.console.draws_bars() {
            let style = "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} {msg}";
            self.bar = drawn(Some(bytes), style, style);
        }
    }

    fn tensor(&mut self, name: &str) {
        self.bar.set_message(name.to_owned());
    }

    fn advanced(&mut self, done_bytes: u64) {
        self.bar.set_position(done_bytes);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

impl Drop for WeightsBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A stream of texts: how far, how fast, how long still.
pub(crate) struct TextBar {
    bar: ProgressBar,
    started: Option<Instant>,
    texts: usize,
    skipped_bytes: u64,
}

impl TextBar {
    /// A bar over the input's bytes, or a spinner where they aren't known; nothing for an input that is soon done.
    pub(crate) fn new(input: &Input, console: Console) -> Self {
        let bar = if console.draws_bars() && !input.is_small() {
            drawn(input.total_bytes(), "{bar:30} {percent}% {msg}", "{spinner} {msg}")
        } else {
            ProgressBar::hidden()
        };
        Self { bar, started: None, texts: 0, skipped_bytes: 0 }
    }

    /// Texts up to this byte were done by an earlier run.
    pub(crate) fn skip(&mut self, bytes: u64) {
        self.skipped_bytes = bytes;
        self.bar.set_position(bytes);
    }

    /// The next texts are about to be computed.
    pub(crate) fn start(&mut self) {
        self.started.get_or_insert_with(Instant::now);
    }

    /// `texts` more are done, up to this byte of the input.
    pub(crate) fn advance(&mut self, texts: usize, bytes: u64) {
        self.texts += texts;
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64()).max(1e-3);
        let left = self.bar.length().map_or_else(String::new, |total| {
            let per_byte = seconds / bytes.saturating_sub(self.skipped_bytes).max(1) as f64;
            let left = Duration::try_from_secs_f64(total.saturating_sub(bytes) as f64 * per_byte);
            format!(", {:#} left", HumanDuration(left.unwrap_or_default()))
        });
        let (count, rate) = (HumanCount(self.texts as u64), self.texts as f64 / seconds);
        self.bar.set_message(format!("{count} texts, {rate:.0} texts/s{left}"));
        self.bar.set_position(bytes);
    }
}

impl Drop for TextBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn drawn(total: Option<u64>, bar: &str, spinner: &str) -> ProgressBar {
    let drawn = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(if total.is_some() { bar } else { spinner });
    drawn.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    drawn.enable_steady_tick(TICK);
    drawn
}
