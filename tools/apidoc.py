"""Turn the doc comments of the public headers into one reference.

A block is a comment and the declarations below it, up to an empty line or the
next comment.  Within a comment:
  word  text      two blanks or more: a parameter
  Returns: text   and the other labels of docs/hacking.md: a list item
  anything else   paragraphs
"""
import re

LABELS = ("Returns|Owner|Context|Callbacks|Fatal|Since|Source|Owner, Context|"
          "Returns, Owner, Context")
HIDDEN = re.compile(r"^\s*(#|MPG_(BEGIN|END)_DECLS|extern \"C\"|}$)")


def comment_lines(comment):
    body = re.sub(r"^/\*+\s?|\s*\*/$", "", comment.strip())
    return [re.sub(r"^\s*\*? ?", "", line) if i else line
            for i, line in enumerate(body.split("\n"))]


def markdown(comment):
    """Paragraphs and lists of one comment."""
    out, item = [], None
    for line in comment_lines(comment):
        label = re.match(rf"({LABELS}): *(.*)", line)
        param = re.match(r"([a-z_]+(?:, [a-z_]+)*)  +(\S.*)", line)
        if label:
            out.append(f"\n- **{label[1]}**: {label[2]}")
            item = True
        elif param:
            out.append(f"\n- `{param[1]}`: {param[2]}")
            item = True
        elif not line.strip():
            out.append("\n")
            item = False
        elif item and line.startswith(" "):
            out.append(" " + line.strip())
        elif item:
            out.append("\n\n" + line)
            item = False
        else:
            out.append(("\n" if not out or out[-1] == "\n" else "\n") + line)
    text = "".join(out).strip("\n")
    text = re.sub(r"(?m)(^[^-\n].*)\n(- )", r"\1\n\n\2", text)
    text = re.sub(r"  Since: [\d.]+\.?", "", text)  # one release so far
    text = re.sub(r"\n- \*\*Since\*\*: [\d.]+\.? *(Source: )?",
                  lambda m: "\n- **Source**: " if m[1] else "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def declaration(lines):
    text = "\n".join(lines)
    text = re.sub(r"(?m)^MPG_API (.*\n(?: {8,}.*\n?)*)",
                  lambda m: m[1].replace("\n" + " " * 8, "\n"), text + "\n")
    text = re.sub(r"\bMPG_NORETURN ", "_Noreturn ", text)
    text = re.sub(r"\s*\n?\s*__attribute__\(\((?:[^()]|\([^()]*\))*\)\)", "",
                  text)
    return text.strip()


def names(decl):
    return list(dict.fromkeys(re.findall(r"\b(mpg_\w+)\(", decl)))


def blocks(header):
    """(comment, declaration) pairs; the first one has the file's comment."""
    comment, decl, conditional = None, [], 0
    for part in re.split(r"(^/\*.*?\*/)", header, flags=re.S | re.M):
        if part.startswith("/*"):
            if comment is not None:
                yield comment, decl
            comment, decl = part, []
            continue
        for line in part.strip("\n").split("\n"):
            if re.match(r"#\s*if", line):
                conditional += 1
            elif re.match(r"#\s*endif", line):
                conditional -= 1
            elif re.match(r"#\s*define MPG_[A-Z_]+ ", line) or (
                    conditional <= 1 and not HIDDEN.match(line)):
                decl.append(line)
    if comment is not None:
        yield comment, decl


def reference(path, text):
    """The section of one header."""
    out = []
    for i, (comment, decl) in enumerate(blocks(text)):
        shown = declaration(decl)
        if i == 0:
            comment = re.sub(r"mpg/\w+\.h - (.)", lambda m: m[1].upper(),
                             comment)
            out.append(f"\n## {path}\n\n{markdown(comment)}\n")
            if shown:
                out.append(f"\n```c\n{shown}\n```\n")
            continue
        if not shown:
            continue
        title = ", ".join(f"`{n}`" for n in names(shown))
        if title:
            out.append(f"\n### {title}\n")
        out.append(f"\n```c\n{shown}\n```\n\n{markdown(comment)}\n")
    return "".join(out)
