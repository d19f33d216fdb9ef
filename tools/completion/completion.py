# SPDX-License-Identifier: Apache-2.0
"""Shell completion of one program, made from its own --help.

    completion.py PROGRAM BASH_FILE ZSH_FILE

--help is written from the option table, so completion can't know other
options than the program does.
"""
import os
import re
import subprocess
import sys

OPTION = re.compile(r"^  --(\[no\])?([\w-]+)(?:\[?=(\S.*))?$")
COMMAND = re.compile(r"^  ([a-z][a-z-]*) +(\S.*)$")
ALSO = re.compile(r"\balso (-[^;\]]+)")
# Other names that a program is installed by.
ALSO_KNOWN = {"mooncake_store_service": ("mc_store_rest_server",)}
FILES = {"FILE": "f", "PATH": "f", "DIR": "d", "DIRECTORY": "d"}


class Option:
    def __init__(self, no, name, arg):
        self.no, self.name, self.arg, self.text = bool(no), name, arg, ""

    def names(self):
        """Every long name; one-letter ones are quicker typed than completed."""
        found = ALSO.search(self.text)
        also = re.findall(r"--([\w-]+)", found.group(1)) if found else []
        return [self.name, *also]

    def kind(self):
        """f, d or None: what file names can stand for the value."""
        return FILES.get(re.split(r"[^A-Z]", self.arg or "")[0])


def run_help(*argv):
    return subprocess.run([*argv, "--help"], check=True, text=True,
                          capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL).stdout


def options(text):
    found = []
    for line in text.split("\n"):
        m = OPTION.match(line)
        if m:
            found.append(Option(*m.groups()))
        elif found and line.startswith("        "):
            found[-1].text = (found[-1].text + " " + line.strip()).strip()
    return found


def commands(text):
    """[(name, what it does)] below "Commands:", to the next empty line."""
    found, inside = [], False
    for line in text.split("\n"):
        if line == "Commands:":
            inside = True
        elif not line:
            inside = False
        elif inside and COMMAND.match(line):
            found.append(COMMAND.match(line).groups())
    return found


def every_name(name):
    return " ".join((name, *ALSO_KNOWN.get(name, ())))


def words(opts):
    for o in opts:
        for name in o.names():
            yield f"--{name}=" if o.arg else f"--{name}"
        if o.no:
            yield f"--no{o.name}"


def bash_case(opts):
    """Lines of a case on $prev that complete values."""
    for kind in ("f", "d"):
        names = sorted({"--" + n for o in opts if o.kind() == kind
                        for n in o.names()})
        if names:
            yield (f"\t{'|'.join(names)})\n"
                   f"\t\tmapfile -t COMPREPLY < <(compgen -{kind} -- "
                   "\"$cur\")\n"
                   "\t\tcompopt -o filenames\n\t\treturn ;;\n")
    names = sorted({"--" + n for o in opts if o.arg and not o.kind()
                    for n in o.names()})
    if names:
        yield f"\t{'|'.join(names)})\n\t\treturn ;;\n"


def bash(name, top, subs):
    every = top + [o for _, _, opts in subs for o in opts]
    out = [f"# bash completion of {name}; made from its --help\n"
           f"_{name}()\n{{\n"
           "\tlocal cur=${COMP_WORDS[COMP_CWORD]} i all command=\n"
           "\tlocal prev=${COMP_WORDS[COMP_CWORD-1]}\n\n"
           "\tCOMPREPLY=()\n"
           "\tif [ \"$prev\" = = ]; then\n"
           "\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n"
           "\telif [ \"$cur\" = = ]; then\n\t\tcur=\n"
           "\telse\n\t\t"
           "# \"--name value\" is left to the user: names come first.\n"
           "\t\tcase $cur in -*) prev= ;; esac\n\tfi\n"
           "\tcase $prev in\n", *bash_case(every), "\tesac\n"]
    if subs:
        out.append(
            "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
            "\t\tcase ${COMP_WORDS[i]} in\n"
            f"\t\t{'|'.join(s[0] for s in subs)})\n"
            "\t\t\tcommand=${COMP_WORDS[i]}\n\t\t\tbreak ;;\n"
            "\t\tesac\n\tdone\n")
    out.append("\tcase $command in\n")
    for cmd, _, opts in subs:
        out.append(f"\t{cmd}) all='{' '.join(words(opts))}' ;;\n")
    first = [s[0] for s in subs] + list(words(top))
    if subs:
        first += ["--master=", "--help", "--version"]
    out.append(f"\t*) all='{' '.join(first)}' ;;\n\tesac\n"
               "\tmapfile -t COMPREPLY < <(compgen -W \"$all\" -- \"$cur\")\n"
               "\tcase ${COMPREPLY[0]-} in *=) compopt -o nospace ;; esac\n"
               f"}}\ncomplete -o default -F _{name} {every_name(name)}\n")
    return "".join(out)


def zsh_quote(text):
    """For the inside of '...[text]' of _arguments."""
    text = text.split(". ")[0].rstrip(".")
    return re.sub(r"([\[\]:\\])", r"\\\1", text).replace("'", "'\\''")


def zsh_specs(opts):
    for o in opts:
        text = zsh_quote(o.text)
        arg = zsh_quote(o.arg or "")
        action = {"f": "_files", "d": "_files -/"}.get(o.kind(), " ")
        for name in o.names():
            if o.arg:
                yield f"'*--{name}=[{text}]:{arg}:{action}'"
            else:
                yield f"'--{name}[{text}]'"
        if o.no:
            yield f"'--no{o.name}[not\\: {text}]'"


def zsh_call(indent, opts, *more):
    lines = ["_arguments", *zsh_specs(opts), *more]
    return (" \\\n" + indent + "\t").join([indent + lines[0], *lines[1:]]) + "\n"


def zsh(name, top, subs):
    out = [f"#compdef {every_name(name)}\n# made from its --help\n"]
    if not subs:
        return "".join(out) + zsh_call("", top, "'*:file:_files'")
    out.append("local curcontext=$curcontext state line\nlocal -a commands\n"
               "commands=(\n")
    for cmd, text, _ in subs:
        out.append(f"\t'{cmd}:{zsh_quote(text)}'\n")
    out.append(")\n_arguments -C '*--master=[address of the master]"
               ":HOST\\:PORT: ' \\\n\t'--help[help]' '--version[version]' \\\n"
               "\t'1:command:->command' '*::argument:->argument'\n"
               "case $state in\ncommand) _describe command commands ;;\n"
               "argument)\n\tcase $line[1] in\n")
    for cmd, _, opts in subs:
        out.append(f"\t{cmd})\n" + zsh_call("\t\t", opts, "'*:file:_files'")
                   + "\t\t;;\n")
    out.append("\tesac\n\t;;\nesac\n")
    return "".join(out)


def main():
    program, bash_file, zsh_file = sys.argv[1:]
    name = os.path.basename(program)
    text = run_help(program)
    subs = [(c, t, options(run_help(program, c))) for c, t in commands(text)]
    top = options(text)
    if not top and not subs:
        sys.exit(f"{name} --help has no options that can be read")
    for path, made in ((bash_file, bash), (zsh_file, zsh)):
        with open(path, "w", encoding="utf-8") as f:
            f.write(made(name, top, subs))


main()
