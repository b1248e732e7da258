# bash completion for weir
_weir() {
    local word=${COMP_WORDS[COMP_CWORD]}
    local command=${COMP_WORDS[1]} words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words='stream copy run check slots init help --help --version'
    else
        case $command in
        stream) words='--table --jobs --progress --publication --slot --copy --until --state --name ' ;;
        copy) words='--table --jobs --progress ' ;;
        run) words='--until --state ' ;;
        check) words='--table --publication --slot --name --columns ' ;;
        slots) words='' ;;
        init) words='' ;;
        help) words='' ;;
        internal) words='' ;;
        esac
        words="$words --log-format --log-level --help"
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _weir weir
