# bash completion for weir
_weir() {
    local word=${COMP_WORDS[COMP_CWORD]}
    local before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words=''
    if [ "$COMP_CWORD" -eq 1 ]; then
        words='stream copy run status check verify slots replay dead init help --help --version'
    else
        case "$command $before" in
        'slots slots') words='list drop' ;;
        *' --log-format') words='text json' ;;
        *' --log-level') words='error warn info debug' ;;
        'stream --progress') words='auto always never' ;;
        'stream --buffer') words='memory disk' ;;
        'stream --on-error') words='stop dead-letter' ;;
        'stream '*) words='--table --exclude-table --jobs --watchdog --progress --publication --slot --no-copy --until --patience --state --buffer --on-error --wal-warning --wal-disk --metrics --name --log-format --log-level --help' ;;
        'copy --progress') words='auto always never' ;;
        'copy '*) words='--table --exclude-table --jobs --watchdog --progress --log-format --log-level --help' ;;
        'run '*) words='--until --patience --state --metrics --listen --log-format --log-level --help' ;;
        'status --format') words='text json' ;;
        'status '*) words='--state --name --format --watch --log-format --log-level --help' ;;
        'check --buffer') words='memory disk' ;;
        'check --format') words='text json' ;;
        'check '*) words='--table --exclude-table --publication --slot --state --no-copy --buffer --name --no-columns --format --dot --no-connect --log-format --log-level --help' ;;
        'verify --buffer') words='memory disk' ;;
        'verify --on-error') words='stop dead-letter' ;;
        'verify --progress') words='auto always never' ;;
        'verify --format') words='text json' ;;
        'verify '*) words='--table --exclude-table --only --repair --limit --jobs --buffer --on-error --patience --publication --slot --state --name --route --progress --format --log-format --log-level --help' ;;
        'slots '*) words='--log-format --log-level --help' ;;
        'replay '*) words='--route --from --project --state --patience --log-format --log-level --help' ;;
        'dead '*) words='--all --state --log-format --log-level --help' ;;
        'init '*) words='--log-format --log-level --help' ;;
        'help '*) words='--log-format --log-level --help' ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _weir weir
