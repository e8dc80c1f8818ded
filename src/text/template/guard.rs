//! What a template may be, and where its work is counted.
//!
//! The engine counts instructions and bytes, but not the work of comparing, sorting or printing
//! values within values, and it calls itself for every level of an expression or of a value. So a
//! source is limited before it is parsed, to what fits [`STACK`], and the filters of
//! [`work`](super::work) are inserted where values come to contain others and where operations go
//! through them: no list, tuple or mapping gets larger or deeper than these allow.

use super::work::{COUNTED, DATA, SCALAR};
use minijinja::machinery::{Token, ast, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

/// Longest source, in bytes. The longest public template has some 30,000.
const MOST_BYTES: usize = 1 << 18;
/// Most tags of a source.
const MOST_TAGS: usize = 2048;
/// Most words and operators of a tag: the depth of an expression is at most their number.
const MOST_WORDS: usize = 2048;

/// Filters that take no longer for a value that contains many others.
const CHEAP: [&str; 12] = [
    "length", "count", "default", "d", "first", "last", "attr", "int", "float", "abs", "round",
    "bool",
];

/// Where to insert what.
type Insertions = Vec<(usize, &'static str)>;

/// `source` with the filters that count its work; an error if it is too long to be parsed.
pub(super) fn guarded(source: &str, syntax: &SyntaxConfig) -> Result<String, Error> {
    check(source, syntax)?;
    let tree = parse(source, super::NAME, syntax.clone())?;
    let mut guard = Guard { source, insertions: Insertions::new() };
    guard.statement(&tree)?;
    let Guard { mut insertions, .. } = guard;
    // What is inserted first at a place belongs to what is inside.
    insertions.sort_by_key(|&(at, _)| at);
    let mut out = String::with_capacity(source.len() + insertions.len() * COUNTED.len());
    let mut done = 0;
    for (at, text) in insertions {
        out.push_str(source.get(done..at).ok_or_else(lost)?);
        out.push_str(text);
        done = at;
    }
    out.push_str(source.get(done..).ok_or_else(lost)?);
    Ok(out)
}

/// Refuses what would be too deep for the parser.
fn check(source: &str, syntax: &SyntaxConfig) -> Result<(), Error> {
    let refuse = |what: String| Err(Error::new(ErrorKind::SyntaxError, what));
    if source.len() > MOST_BYTES {
        let bytes = source.len();
        return refuse(format!("it has {bytes} bytes; the limit is {MOST_BYTES}"));
    }
    let (mut tags, mut words) = (0, 0);
    for token in tokenize(source, false, syntax.clone()) {
        match token?.0 {
            Token::TemplateData(_) => continue,
            Token::VariableStart | Token::BlockStart => (tags, words) = (tags + 1, 0),
            _ => words += 1,
        }
        if tags > MOST_TAGS {
            return refuse(format!("it has more than {MOST_TAGS} tags"));
        }
        if words > MOST_WORDS {
            return refuse(format!("tag {tags} has more than {MOST_WORDS} words and operators"));
        }
    }
    Ok(())
}

/// The syntax tree is not where it says it is in the source.
fn lost() -> Error {
    Error::new(ErrorKind::SyntaxError, "its work can't be counted")
}

struct Guard<'s> {
    source: &'s str,
    insertions: Insertions,
}

impl Guard<'_> {
    fn statements(&mut self, list: &[ast::Stmt]) -> Result<(), Error> {
        list.iter().try_for_each(|s| self.statement(s))
    }

    fn statement(&mut self, statement: &ast::Stmt) -> Result<(), Error> {
        use ast::Stmt;
        match statement {
            Stmt::Template(s) => self.statements(&s.children),
            Stmt::EmitExpr(s) => self.value(&s.expr),
            Stmt::ForLoop(s) => {
                self.value(&s.iter)?;
                self.optional(s.filter_expr.as_ref())?;
                self.statements(&s.body)?;
                self.statements(&s.else_body)
            }
            Stmt::IfCond(s) => {
                self.value(&s.expr)?;
                self.statements(&s.true_body)?;
                self.statements(&s.false_body)
            }
            Stmt::WithBlock(s) => {
                s.assignments.iter().try_for_each(|(_, value)| self.value(value))?;
                self.statements(&s.body)
            }
            Stmt::Set(s) => {
                self.value(&s.expr)?;
                // A tuple may have no parentheses, and what is kept in a namespace outlives a loop.
                let filter = match (&s.target, &s.expr) {
                    (ast::Expr::Var(_), ast::Expr::Tuple(_)) => COUNTED,
                    (ast::Expr::Var(_), _) => return Ok(()),
                    _ => DATA,
                };
                let equals = self.after(end(&s.target), "=")?;
                self.insert(equals, "(");
                self.insert(s.span().end_offset as usize, ")");
                self.insert(s.span().end_offset as usize, filter);
                Ok(())
            }
            Stmt::SetBlock(s) => {
                if let (ast::Expr::GetAttr(_), Some(_)) = (&s.target, &s.filter) {
                    let text = "a block can't be filtered into a namespace";
                    return Err(Error::new(ErrorKind::SyntaxError, text));
                }
                s.filter.iter().try_for_each(|filter| self.inside(filter))?;
                self.statements(&s.body)
            }
            Stmt::AutoEscape(s) => {
                self.value(&s.enabled)?;
                self.statements(&s.body)
            }
            Stmt::FilterBlock(s) => {
                self.inside(&s.filter)?;
                self.statements(&s.body)
            }
            Stmt::Macro(s) => {
                s.defaults.iter().try_for_each(|value| self.value(value))?;
                self.statements(&s.body)
            }
            Stmt::CallBlock(s) => {
                self.arguments(&s.call.args)?;
                s.macro_decl.defaults.iter().try_for_each(|value| self.value(value))?;
                self.statements(&s.macro_decl.body)
            }
            Stmt::Do(s) => self.arguments(&s.call.args),
            Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => Ok(()),
        }
    }

    fn optional(&mut self, value: Option<&ast::Expr>) -> Result<(), Error> {
        value.map_or(Ok(()), |value| self.value(value))
    }

    fn arguments(&mut self, list: &[ast::CallArg]) -> Result<(), Error> {
        use ast::CallArg;
        list.iter().try_for_each(|argument| match argument {
            CallArg::Pos(value)
            | CallArg::Kwarg(_, value)
            | CallArg::PosSplat(value)
            | CallArg::KwargSplat(value) => self.value(value),
        })
    }

    /// A value that is used as a whole.
    fn value(&mut self, value: &ast::Expr) -> Result<(), Error> {
        self.inside(value)?;
        if makes(value) {
            self.insert(end(value), COUNTED);
        }
        Ok(())
    }

    /// The left operand of what follows it.
    fn left(&mut self, value: &ast::Expr, filter: &'static str) -> Result<(), Error> {
        self.value(value)?;
        if filter == SCALAR || !(makes(value) || matches!(value, ast::Expr::Const(_))) {
            let at = self.operator(end(value))?;
            self.insert(at, filter);
        }
        Ok(())
    }

    /// The parts of a value.
    fn inside(&mut self, value: &ast::Expr) -> Result<(), Error> {
        use ast::{BinOpKind, Expr};
        match value {
            Expr::Var(_) | Expr::Const(_) => Ok(()),
            Expr::Slice(e) => {
                self.inside(&e.expr)?;
                [&e.start, &e.stop, &e.step].into_iter().try_for_each(|e| self.optional(e.as_ref()))
            }
            Expr::UnaryOp(e) => self.value(&e.expr),
            Expr::BinOp(e) => match e.op {
                BinOpKind::Mul => {
                    self.left(&e.left, SCALAR)?;
                    self.value(&e.right)?;
                    self.insert(end(value), SCALAR);
                    Ok(())
                }
                BinOpKind::ScAnd | BinOpKind::ScOr => {
                    self.value(&e.left)?;
                    self.value(&e.right)
                }
                _ => {
                    self.left(&e.left, COUNTED)?;
                    self.value(&e.right)
                }
            },
            Expr::Compare(e) => {
                let mut left = &e.expr;
                for part in &e.ops {
                    self.left(left, COUNTED)?;
                    left = &part.expr;
                }
                self.value(left)
            }
            Expr::IfExpr(e) => {
                self.value(&e.test_expr)?;
                self.value(&e.true_expr)?;
                self.optional(e.false_expr.as_ref())
            }
            Expr::Filter(e) => {
                match &e.expr {
                    Some(inner) if CHEAP.contains(&e.name) => self.value(inner)?,
                    Some(inner) => self.left(inner, COUNTED)?,
                    None => {}
                }
                self.arguments(&e.args)
            }
            Expr::Test(e) => {
                match e.args[..] {
                    [] => self.value(&e.expr)?,
                    _ => self.left(&e.expr, COUNTED)?,
                }
                self.arguments(&e.args)
            }
            Expr::GetAttr(e) => self.inside(&e.expr),
            Expr::GetItem(e) => {
                self.inside(&e.expr)?;
                if let Expr::Const(_) = e.subscript_expr {
                    return Ok(());
                }
                let open = self.after(end(&e.expr), "[");
                self.value(&e.subscript_expr)?;
                // An index after a dot is a constant.
                self.insert(open?, "(");
                let close = end(value) - 1;
                self.insert(close, ")");
                self.insert(close, COUNTED);
                Ok(())
            }
            Expr::Call(e) => {
                self.inside(&e.expr)?;
                self.arguments(&e.args)
            }
            Expr::List(e) => e.items.iter().try_for_each(|item| self.value(item)),
            Expr::Tuple(e) => e.items.iter().try_for_each(|item| self.value(item)),
            Expr::Map(e) => e.keys.iter().chain(&e.values).try_for_each(|item| self.value(item)),
        }
    }

    fn insert(&mut self, at: usize, text: &'static str) {
        self.insertions.push((at, text));
    }

    /// Where the operator begins that follows an operand, which may end with parentheses.
    fn operator(&self, end: usize) -> Result<usize, Error> {
        let rest = self.source.get(end..).ok_or_else(lost)?;
        let operator = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ')');
        Ok(self.source.len() - operator.len())
    }

    /// The end of `text`, which is what follows.
    fn after(&self, end: usize, text: &str) -> Result<usize, Error> {
        let at = self.operator(end)?;
        match self.source[at..].starts_with(text) {
            true => Ok(at + text.len()),
            false => Err(lost()),
        }
    }
}

/// Whether it makes a value that may contain others.
fn makes(value: &ast::Expr) -> bool {
    use ast::Expr;
    match value {
        Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => true,
        Expr::Filter(filter) => !CHEAP.contains(&filter.name),
        // The items of a range are made one at a time.
        Expr::Call(call) => !matches!(&call.expr, Expr::Var(name) if name.id == "range"),
        _ => false,
    }
}

fn end(value: &ast::Expr) -> usize {
    value.span().end_offset as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::Value;

    /// Every place where filters are inserted, and where none may be.
    #[test]
    fn what_is_counted_means_the_same() {
        let mut environment = super::super::environment().unwrap();
        environment.set_fuel(None);
        for source in [
            "{{ 1 + 2 * -3 ** 2 // 2 - 7 % 4 }} {{ - 2 * 'ab'|length }} {{ 2 * (3 if 1 else 4) * 'x' }}",
            "{{ 'a' 'b' ~ 1 ~ [1, (2, 3), {'k': [4]}] ~ (1,) ~ () ~ {} }}{{ ('a' + 'b') * 2 }}",
            "{{ 1 < 2 <= 2 != 3 }} {{ 'a' in 'abc' }} {{ 2 not in [1, 3] }} {{ not 1 == 2 and 3 or 4 }}",
            "{{ (1 if 0 else 2) == 2 }} {{ ((1) == (1)) }} {{ (l if 1 else 2)|join('+') }}",
            "{{ l[1] }}{{ l[l[0]] }}{{ l[-1] }}{{ l[1:] }}{{ l[:2][0] }}{{ l[::2] }}{{ d['a'] }}{{ d.a }}{{ l.0 }}",
            "{{ d['a' if 1 else 'b'] }}{{ [1, 2][0] }}{{ {'a': {'b': 3}}.a['b'] }}{{ (1, 2)[1] }}",
            "{{ [3, 1, 2]|sort|join(', ')|upper }} {{ l|map('string')|list|length }} {{ l | first }}",
            "{{ none|default('x') }} {{ nothing is defined }} {{ nothing is not defined and 1 }} {{ 3 is eq(3) }} {{ 3 is eq 4 }} {{ 4 is divisibleby 2 }} {{ 'a' is in ['a'] }} {{ d is mapping }}",
            "{{ 'A b'.split(' ')[0].lower() }} {{ d.items()|list }} {{ d.get('a', [])|string }} {{ 'x'.join(['1', '2']) }}",
            "{% set x = [1, 2] %}{% set y, z = x[0], (x[1]) %}{{ y }}{{ z }}{% set t = 1, 2 %}{{ t }}{% set (p, q) = t %}{{ p }}",
            "{% set ns = namespace(a=[], b=namespace2|default(1)) %}{% for i in range(3) %}{% set ns.a = ns.a + [i] %}{% endfor %}{{ ns.a|list }}{{ ns.b }}",
            "{% set ns = namespace({'a': 1}) %}{% set ns.b = ns.a, 2 %}{{ ns.b }}{% set ns.c %}x{% endset %}{{ ns.c }}",
            "{% for k, v in d.items() if v != 2 %}{{ k }}={{ v }}{{ loop.index }}{% else %}none{% endfor %}{% for (a, b) in [(1, 2)] %}{{ a + b }}{% endfor %}",
            "{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
            "{% macro m(a, b=[1, 2], c='x' ~ 'y') -%} {{ a }}{{ b|join }}{{ c }} {%- endmacro %}{{ m(1) }}{{ m(1, b=(3, 4)) }}{{ m(*[5]) }}{{ m(**{'a': 6}) }}",
            "{% macro w() %}<{{ caller([1]) }}>{% endmacro %}{% call(x) w() %}{{ x }}{% endcall %}",
            "{% with a = [1] + [2], b = (3, 4) %}{{ a|list }}{{ b }}{% endwith %}{% filter upper %}a{{ 'b' }}{% endfilter %}{% set s | trim | upper %} c {% endset %}{{ s }}",
            "{% if l|length > 2 and l[0] == 1 or (not d) %}yes{% elif [1] %}no{% endif %}{% do d.get('a') %}{% raw %}{{ x == y }}{% endraw %}{# {{ #}",
            "{{ [] if l else {} }}{{ ('%s-%d'|format('a', 3)) }}{{ 'äöü' + 'ß' in 'xäöüß' }}{{ \"a}}b\" }}{{ {'a': {'b': 1}} }}{{ 1 -}}  x",
            "{{ l|batch(2)|list }}{{ l|groupby('x')|list|length }}{{ l | select('gt', 1) | list }}{{ d|tojson(indent=2) }}{{ d|dictsort }}",
            "{{\n  l\n  |\n  join(\n ','\n)\n}}{{ 3\n==\n3 }}{{ ( l [ 1 ] ) }}",
        ] {
            let counted = guarded(source, environment.syntax()).unwrap();
            let root: Value = minijinja::context! {
                l => vec![1, 2, 3], d => minijinja::context! { a => 1, b => 2 },
            };
            let [want, got] = [source, &counted[..]].map(|source| {
                environment.render_str(source, root.clone()).map_err(|e| e.to_string())
            });
            assert_eq!(got, want, "{source}\n{counted}");
            assert!(want.is_ok(), "{want:?}");
        }
    }

    #[test]
    fn the_deepest_source_fits_the_stack() {
        let syntax = super::super::environment().unwrap().syntax().clone();
        let words = MOST_WORDS - 3;
        for source in [
            format!("{{{{ 1{} }}}}", "+1".repeat(words / 2)),
            format!("{{{{ {}1 }}}}", "-".repeat(words)),
            format!("{{{{ {}1 }}}}", "not ".repeat(words)),
            format!("{{{{ 1{} }}}}", "|string".repeat(words / 2)),
            format!("{{{{ x{} }}}}", ".a".repeat(words / 2)),
            format!("{{{{ {}1 }}}}", "1 if 1 else ".repeat(140)),
            format!("{{{{ {}1{} }}}}", "[".repeat(70), "]".repeat(70)),
            format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(MOST_TAGS - 2)),
        ] {
            // What is a quarter of the stack, and so has room without optimization.
            let run = || guarded(&source, &syntax).map(drop).map_err(|e| e.to_string());
            let thread =
                std::thread::Builder::new().stack_size(super::super::super::apart::STACK / 4);
            std::thread::scope(|scope| {
                thread.spawn_scoped(scope, run).unwrap().join().unwrap().unwrap();
            });
        }
    }
}
