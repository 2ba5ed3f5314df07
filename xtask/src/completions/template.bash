# bash completion for crun: source this file, or put it where bash-completion looks for it, as crun.
# Written by `cargo xtask completions` from the tables of the command line.

# The options of a command, or those before it.
_crun_options() {
    case $1 in
@OPTIONS@    esac
}

# What the value of a command's option names; nothing for a switch. A value that may be left out is always attached.
_crun_value() {
    case "$1 $2" in
@VALUES@    esac
}

# What an argument of a command names, counted from 1.
_crun_operand() {
    case "$1 $2" in
@OPERANDS@    esac
}

# Whether the option takes the next word for its value.
_crun_wants_word() {
    local kind
    kind=$(_crun_value "$1" "$2")
    [[ -n $kind && $kind != @optional* ]]
}

# Offers what a kind of value has.
_crun_offer() {
    local kind=${1#@optional } cur=$2
    case $kind in
    @file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    @directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    @container)
        local ids
        ids=$("${COMP_WORDS[0]}" ${root:+--root "$root"} list --quiet 2>/dev/null)
        mapfile -t COMPREPLY < <(compgen -W "$ids" -- "$cur") ;;
    @signal) mapfile -t COMPREPLY < <(compgen -W "@SIGNALS@" -- "$cur") ;;
    @command) mapfile -t COMPREPLY < <(compgen -W "@COMMANDS@" -- "$cur") ;;
    @text) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur") ;;
    esac
}

# The option of a word with letters that wants the next word for its value, if there is one.
_crun_last_letter() {
    local letters=${2#-} at
    for ((at = 0; at < ${#letters}; at++)); do
        if [[ -n $(_crun_value "$1" "-${letters:at:1}") ]]; then
            ((at + 1 == ${#letters})) && _crun_wants_word "$1" "-${letters:at:1}" && printf '%s\n' "-${letters:at:1}"
            return
        fi
    done
}

_crun() {
    local cur=${COMP_WORDS[COMP_CWORD]} word command='' root='' pending='' operands=0 separated='' at
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        # readline takes --name=value apart at the equals sign, and A=b, too.
        if [[ $word == = ]]; then
            [[ -n $pending ]] || at=$((at + 1))
        elif [[ -n $pending ]]; then
            [[ -z $command && $pending == --root ]] && root=${word/#\~/$HOME}
            pending=
        elif [[ -z $separated && $word == -- ]]; then
            separated=yes
        elif [[ -z $separated && $word == --*=* ]]; then
            [[ -z $command && $word == --root=* ]] && root=${word#*=}
        elif [[ -z $separated && $word == --* ]]; then
            if _crun_wants_word "$command" "$word" || [[ ${COMP_WORDS[at + 1]} == = ]]; then
                pending=$word
            fi
        elif [[ -z $separated && $word == -?* ]]; then
            pending=$(_crun_last_letter "$command" "$word")
        elif [[ -z $command ]]; then
            command=$word separated=
        else
            operands=$((operands + 1))
            # What follows belongs to another program.
            case $command in @REST@) return ;; esac
        fi
    done
    [[ $cur == = ]] && cur=
    if [[ -n $pending ]]; then
        _crun_offer "$(_crun_value "$command" "$pending")" "$cur"
    elif [[ -z $separated && $cur == --*=* ]]; then
        _crun_offer "$(_crun_value "$command" "${cur%%=*}")" "${cur#*=}"
        COMPREPLY=("${COMPREPLY[@]/#/${cur%%=*}=}")
    elif [[ -z $separated && $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_crun_options "$command")" -- "$cur")
    elif [[ -z $command ]]; then
        _crun_offer @command "$cur"
    else
        _crun_offer "$(_crun_operand "$command" $((operands + 1)))" "$cur"
    fi
}

complete -F _crun crun
