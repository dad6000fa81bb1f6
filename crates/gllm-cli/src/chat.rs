//! `gllm chat`: a conversation, a turn at a time.
//!
//! Invariant: the conversation is messages and their answers by turns. What fails leaves no trace in it, and the next
//! turn goes on from what there is.

mod turn;
mod typed;

use gllm::{Client, Error, GenerationBuilder, InferenceError, InvalidConfig, Message, ModelType};

use crate::args::{ChatArgs, ChoiceArgs};
use crate::choice::set;
use crate::console::{Console, answer};
use crate::exit::Failure;
use crate::speed::Speed;
use crate::{choice, client, interrupt, writing};

use turn::Turn;
use typed::Typed;

const HELP: &str = "\
/clear         begin a new conversation
/system TEXT   set what the model must keep to; without a text, nothing
/help          this
/exit          end, as Ctrl-D does

A line that ends in a backslash goes on in the next one. A message of several lines stands between \"\"\" and \"\"\".
Ctrl-C stops an answer, or clears the line; the arrows bring earlier lines back.";

/// A conversation, and how it goes on.
struct Chat<'a> {
    client: &'a Client,
    choice: ChoiceArgs,
    system: Option<String>,
    /// A message, its answer, and so on.
    said: Vec<Message>,
    is_terminal: bool,
    console: Console,
}

pub(crate) fn run(args: ChatArgs, console: Console) -> Result<(), Failure> {
    choice::check(&args.choice)?;
    let client = client::load(&args.model, console)?;
    check_writes(&client)?;
    interrupt::leave_unsaid();
    let mut typed = Typed::new(console)?;
    let is_terminal = typed.is_terminal();
    if is_terminal {
        let (model, device) = (&client.info().alias, client.device());
        console.aside(&format!("`{model}` on {device}; /help says what there is, Ctrl-D ends"));
    }
    let ChatArgs { choice, system, .. } = args;
    Chat { client: &client, choice, system, said: Vec::new(), is_terminal, console }.converse(&mut typed)
}

/// Refuses a model that can't answer, before anything is typed.
fn check_writes(client: &Client) -> Result<(), Failure> {
    let info = client.info();
    if info.model_type == ModelType::Generator {
        if client.has_chat_template() {
            return Ok(());
        }
        let found = format!("`{}`, which has none; `gllm generate` gives it a prompt as it is", info.alias);
        return Err(InvalidConfig::new("model", "a model with a chat template", found).into());
    }
    let found = format!("`{}`, which is for {}", info.alias, info.model_type);
    Err(InvalidConfig::new("model", "a model that writes text", found).into())
}

/// An error, with the way out that a conversation has.
fn said_of(error: &Error) -> String {
    match error {
        Error::InferenceError(InferenceError::ContextFull { tokens, limit }) => format!(
            "the conversation has {tokens} tokens with this message, but the context holds {limit}; shorten it, or \
             begin a new one with /clear"
        ),
        error => error.to_string(),
    }
}

impl Chat<'_> {
    /// Does what is typed, up to the end. What fails is said; a script is told at the end, by the code.
    fn converse(&mut self, typed: &mut Typed) -> Result<(), Failure> {
        let (mut turns, mut failed) = (0, 0);
        while let Some(lines) = typed.next()? {
            let Some(turn) = Turn::of(&lines) else { continue };
            turns += 1;
            let said = match self.turn(turn) {
                Ok(true) => continue,
                Ok(false) => break,
                Err(Failure::Gllm(error)) => said_of(&error),
                Err(Failure::Usage(text)) => text,
                Err(failure) => return Err(failure),
            };
            self.console.error(&said);
            failed += 1;
        }
        if failed > 0 && !self.is_terminal {
            return Err(Failure::Failed(format!("{failed} of {turns} turns failed")));
        }
        Ok(())
    }

    /// Does what a turn says; whether the conversation goes on.
    fn turn(&mut self, turn: Turn) -> Result<bool, Failure> {
        match turn {
            Turn::Message(text) => self.answer(text)?,
            Turn::Clear => {
                self.said.clear();
                self.console.aside("a new conversation");
            }
            Turn::System(text) => {
                self.console.aside(if text.is_some() { "a new system message" } else { "no system message" });
                self.system = text;
            }
            Turn::Help => answer(HELP)?,
            Turn::Exit => return Ok(false),
            Turn::Unknown(text) => {
                let way = "/help says which there are; a message that begins with a slash stands between \"\"\"";
                return Err(Failure::Usage(format!("no such command: `{text}`; {way}")));
            }
        }
        Ok(true)
    }

    /// Shows the answer to a message, and keeps both.
    fn answer(&mut self, text: String) -> Result<(), Failure> {
        let message = Message::user(text);
        let messages = self.said.iter().chain([&message]).cloned();
        let request = choice::apply(&self.choice, self.client.chat(messages));
        let request = set(request, self.system.clone(), GenerationBuilder::system);
        let mut text = request.stream()?;
        let is_whole = writing::show(&mut text, true)?;
        if !is_whole && !self.is_terminal {
            return Err(Failure::Interrupted(None));
        }
        let response = text.response();
        self.console.aside(&Speed::of(&response).to_string());
        if client::is_full(self.client, &response) {
            self.console.warn("the answer ends here because the context is full; /clear begins a new conversation");
        }
        // A message that was taken back before there was an answer was never said.
        if is_whole || !response.text.is_empty() {
            self.said.extend([message, Message::assistant(response.text)]);
        }
        Ok(())
    }
}
