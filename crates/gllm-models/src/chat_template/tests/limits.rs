//! Templates that would loop for ever, fill the memory or overflow the stack.

use std::time::{Duration, Instant};

use super::template;
use crate::chat_template::ChatOptions;
use gllm_core::Message;

/// What rendering `source` for one short message says.
fn render(source: &str) -> Result<String, String> {
    let start = Instant::now();
    println!("{}", &source[..source.len().min(60)]);
    let template = template(source).map_err(|error| error.to_string())?;
    let prompt = template.render(&[Message::user("Hi")], &ChatOptions::default()).map_err(|error| error.to_string());
    println!("{:?} {} {prompt:.100?}", start.elapsed(), &source[..source.len().min(100)]);
    assert!(start.elapsed() < Duration::from_secs(20), "{source}: {:?}", start.elapsed());
    prompt
}

/// A template that does something `times` * 300 times to `ns.x`, and ends with `end`.
fn repeated(times: usize, first: &str, step: &str, end: &str) -> String {
    let inner = format!("{{% for j in range(300) %}}{{% set ns.x = {step} %}}{{% endfor %}}");
    format!("{{% set ns = namespace(x={first}) %}}{{% for i in range({times}) %}}{inner}{{% endfor %}}{end}")
}

/// The heads of loops, each over a list that has the variable of the last one twice.
fn nested_loops(count: usize) -> String {
    (0..count).fold(String::new(), |text, i| text + &format!("{{% for x{} in [[x{i}, x{i}]] %}}", i + 1))
}

#[test]
fn templates_that_want_too_much_are_stopped() {
    let sources = [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}".into(),
        "{{ 'a' * 1000000000 }}".into(),
        "{% set x = 'a' * 1000000000 %}".into(),
        "{{ ('x' * 1000000) * 1000000 }}".into(),
        "{{ 1000000000 * 'x' }}".into(),
        "{{ [0] * 1000000000 }}".into(),
        "{{ [0] * 3 }}".into(),
        "{{ 100000000 * [0] }}".into(),
        "{{ [[0] * 99999999] * 99999999 == [[0] * 99999999] * 99999999 }}".into(),
        "{{ 5 in [0] * 100000000 }}".into(),
        "{% for c in 'a' * 50000000 %}{% endfor %}".into(),
        "{{ range(99999)|map('string')|join('x' * 1000000) }}".into(),
        "{{ ('y' * 100000).join(range(99999)|map('string')) }}".into(),
        "{{ '{:1000000000d}'.format(1) }}".into(),
        "{{ '{:{}d}'.format(1, 1000000000) }}".into(),
        "{% set x = 'x' * 200000 %}{{ ('{0}' * 60000).format(x) }}".into(),
        "{% set x = 'x' * 200000 %}{{ ('{a}' * 60000).format(a=x) }}".into(),
        "{% set x = ['x' * 200000] %}{{ ('{0}' * 60000).format(x) }}".into(),
        "{% set x = 'x' * 200000 %}{{ ('%(a)s' * 50000)|format(a=x) }}".into(),
        "{% set x = 'x' * 200000 %}{{ ('%s' * 50000)|format(x) }}".into(),
        "{{ '%1000000000d'|format(1) }}".into(),
        "{{ strftime_now('%1000000000Y') }}".into(),
        "{{ strftime_now('%Q') }}".into(),
        "{{ 'a\na'|indent(1000000000) }}".into(),
        "{{ [1, 2]|tojson(indent=1000000000) }}".into(),
        "{{ messages|tojson(indent='x' * 1000000) }}".into(),
        "{{ [1]|batch(100000000, 'x')|list }}".into(),
        "{{ [1]|slice(100000000, 'x')|list }}".into(),
        repeated(300, "'a'", "ns.x ~ ns.x", ""),
        repeated(300, "'a'", "ns.x + ns.x", ""),
        repeated(300, "'a'", "ns.x|replace('a', 'aa')", ""),
        repeated(300, "'a'", "ns.x.replace('a', 'aa')", ""),
        repeated(300, "'aaaa'", "ns.x.replace('', ns.x)", ""),
        repeated(300, "[1]", "ns.x + ns.x", "{{ 5 in ns.x }}"),
        repeated(300, "[1]", "[ns.x, ns.x]", "{{ ns.x }}"),
        repeated(300, "[1]", "{'a': ns.x, 'b': ns.x}", "{{ ns.x|tojson }}"),
        repeated(300, "[1]", "(ns.x, ns.x)", "{{ ns.x ~ '' }}"),
        // Deeper than the stack.
        repeated(300, "[]", "[ns.x]", ""),
        repeated(300, "[]", "{'a': ns.x}", ""),
        repeated(300, "[]", "(ns.x,)", ""),
        repeated(300, "[]", "[ns.x[0:]]", ""),
        repeated(300, "[]", "dict(a=ns.x)", ""),
        repeated(300, "[1]", "ns.x|batch(1)|list", ""),
        repeated(300, "{'a': 1}", "{'a': ns.x}.items()", ""),
        repeated(300, "[]", "namespace(y=ns.x)", ""),
        // That hold themselves.
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".into(),
        "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns|tojson }}".into(),
        "{% set ns = namespace() %}{% set other = namespace(ns=ns) %}".into(),
        // Without a loop.
        format!("{{% set x = [1] %}}{}{{{{ x == x }}}}", "{% set x = [x, x] %}".repeat(40)),
        format!("{}{{{{ x0 == [] }}}}", nested_loops(60))
            + &"{% endfor %}".repeat(60),
        "{% macro f(x, n) %}{% if n %}{{ f([x, x], n - 1) }}{% else %}{{ x == [x] }}{% endif %}{% endmacro %}{{ f(1, 90) }}".into(),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}".into(),
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}".into(),
        "{% macro f() %}{{ caller(1) }}{% endmacro %}{% call(x) f() %}{{ x }}{% endcall %}".into(),
        "{% with x = [1] %}{{ x }}{% endwith %}".into(),
        "{% generation x = [1] %}{{ x }}{% endgeneration %}".into(),
        // What isn't raw any more where it looks so.
        "{% raw %}{% endrawx %}{{ ' {% endraw %}{{ [0] * 100000000 == [0] * 100000000 }}{# ' }}{# #}".into(),
        format!("{{{{ {}1{} }}}}", "(".repeat(10000), ")".repeat(10000)),
        format!("{{{{ {}1{} }}}}", "[".repeat(10000), "]".repeat(10000)),
        format!("{}{}", "{% if true %}".repeat(10000), "{% endif %}".repeat(10000)),
        format!("{{{{ {}1 }}}}", "-".repeat(10000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(10000)),
        format!("{{{{ x{} }}}}", " + x".repeat(10000)),
        format!("{{{{ x{} }}}}", "|string".repeat(10000)),
        format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}".repeat(10000)),
        "{{ 'a' }}".repeat(40000),
    ];
    for source in sources {
        assert!(render(&source).is_err(), "{source:.200}");
    }
}

#[test]
fn templates_that_slice_in_loops_are_not_nested() {
    for step in ["ns.x[0:]", "ns.x|reverse|list", "ns.x|map('string')|list", "ns.x + []"] {
        assert_eq!(render(&repeated(10, "[1]", step, "{{ ns.x|length }}")).as_deref(), Ok("1"), "{step}");
    }
    for step in ["namespace(x=n.x[0:])", "namespace({'x': n.x[0:]})", "{'x': n.x[0:]}", "[n.x[0:]][0]"] {
        let source =
            format!("{{% set n = {{'x': [1]}} %}}{}{{{{ 'end' }}}}", format!("{{% set n = {step} %}}").repeat(5000));
        assert_eq!(render(&source).as_deref(), Ok("end"), "{step}");
    }
}

#[test]
fn prompts_are_no_longer_than_the_limit() {
    let source =
        |times: usize| format!("{{% set x = 'x' * 100000 %}}{{% for i in range({times}) %}}{{{{ x }}}}{{% endfor %}}");
    assert_eq!(render(&source(160)).map(|prompt| prompt.len()), Ok(16_000_000));
    let error = render(&source(170)).expect_err("too long");
    assert!(error.ends_with("the prompt is longer than 16777216 bytes"), "{error}");
}

#[test]
fn long_conversations_are_not_stopped() {
    let source =
        "{% for m in messages %}{% for n in messages[-2:] %}{% endfor %}{{ m.role ~ m.content|trim }}\n{% endfor %}";
    let template = template(source).expect("a template");
    let messages: Vec<_> = (0..5000).map(|i| Message::user(format!("Message {i} {}", "word ".repeat(100)))).collect();
    let prompt = template.render(&messages, &ChatOptions::default()).expect("a prompt");
    assert_eq!(prompt.lines().count(), 5000);
    let long = [Message::user("one line\n".repeat(200_000))];
    assert_eq!(template.render(&long, &ChatOptions::default()).expect("a prompt").len(), 1_800_004);
}
