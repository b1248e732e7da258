# fish completion for weir
complete -c weir -n __fish_use_subcommand -f -a stream -d 'copy what is there, then follow every change'
complete -c weir -n '__fish_seen_subcommand_from stream' -l table -d 'Take only these tables: schema.table, schema.* or table. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l exclude-table -d 'Leave these tables out, also where --table names them: schema.table, schema.* or table. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l jobs -d 'Tables copied at the same time.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l watchdog -d 'Warn, and name the stage, when something that has to move stands still for so long; 0: never.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l progress -d 'Show live progress: auto does so on a terminal.' -x -a 'auto always never'
complete -c weir -n '__fish_seen_subcommand_from stream' -l publication -d 'Publication to read; made when it is missing.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l slot -d 'Replication slot to read; made when it is missing.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l no-copy -d 'Do not copy the rows that are there: follow the changes only.'
complete -c weir -n '__fish_seen_subcommand_from stream' -l until -d 'Stop when everything committed before now, or before an LSN, is delivered.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l patience -d 'A run that has an end gives up when no attempt, of three at least, has got anywhere for so long; 0: never, as one that has none.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l state -d 'Directory for the state. Default: $XDG_STATE_HOME/weir or ~/.local/state/weir.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l buffer -d 'Where changes wait for the target: on disk, the source need not keep them meanwhile.' -x -a 'memory disk'
complete -c weir -n '__fish_seen_subcommand_from stream' -l on-error -d 'What to do with a change that the target refuses: stop, or dead-letter, which sets it aside (weir dead) and goes on.' -x -a 'stop dead-letter'
complete -c weir -n '__fish_seen_subcommand_from stream' -l wal-warning -d 'Warn when the slot holds so much WAL on the server, and again at each doubling; 0: only when max_slot_wal_keep_size comes near.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l wal-disk -d 'The room that the server\'s disk has for WAL: warnings tell the time until it is full.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l metrics -d 'Serve /metrics for Prometheus and /health. :PORT is this machine only.' -r
complete -c weir -n '__fish_seen_subcommand_from stream' -l name -d 'Name of the pipeline, under which its state is kept. Default: made from both ends.' -r
complete -c weir -n __fish_use_subcommand -f -a copy -d 'copy what is there, once'
complete -c weir -n '__fish_seen_subcommand_from copy' -l table -d 'Take only these tables: schema.table, schema.* or table. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from copy' -l exclude-table -d 'Leave these tables out, also where --table names them: schema.table, schema.* or table. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from copy' -l jobs -d 'Tables copied at the same time.' -r
complete -c weir -n '__fish_seen_subcommand_from copy' -l watchdog -d 'Warn, and name the stage, when something that has to move stands still for so long; 0: never.' -r
complete -c weir -n '__fish_seen_subcommand_from copy' -l progress -d 'Show live progress: auto does so on a terminal.' -x -a 'auto always never'
complete -c weir -n __fish_use_subcommand -f -a run -d 'run every pipeline of a project, or a hub'
complete -c weir -n '__fish_seen_subcommand_from run' -l until -d 'Stop when everything committed before now, or before an LSN, is delivered.' -r
complete -c weir -n '__fish_seen_subcommand_from run' -l patience -d 'A run that has an end gives up when no attempt, of three at least, has got anywhere for so long; 0: never, as one that has none.' -r
complete -c weir -n '__fish_seen_subcommand_from run' -l state -d 'Directory for the state. Default: what the file says, else $XDG_STATE_HOME/weir or ~/.local/state/weir.' -r
complete -c weir -n '__fish_seen_subcommand_from run' -l metrics -d 'Serve /metrics for Prometheus and /health. :PORT is this machine only.' -r
complete -c weir -n '__fish_seen_subcommand_from run' -l listen -d 'Of a hub: where webhooks come in. Default: what its weir.yml says, else 127.0.0.1:4000.' -r
complete -c weir -n __fish_use_subcommand -f -a status -d 'show what runs, and how far it is'
complete -c weir -n '__fish_seen_subcommand_from status' -l state -d 'Directory for the state, as for weir stream and weir run.' -r
complete -c weir -n '__fish_seen_subcommand_from status' -l name -d 'Name of the pipeline, behind SOURCE SINK, as for weir stream.' -r
complete -c weir -n '__fish_seen_subcommand_from status' -l format -d 'A table, or one JSON array, for programs.' -x -a 'text json'
complete -c weir -n '__fish_seen_subcommand_from status' -l watch -d 'Show it again every second.'
complete -c weir -n __fish_use_subcommand -f -a check -d 'look at both ends and say what would happen'
complete -c weir -n '__fish_seen_subcommand_from check' -l table -d 'Look at these tables only: schema.table, schema.* or table. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from check' -l exclude-table -d 'Leave these tables out, also where --table names them: schema.table, schema.* or table. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from check' -l publication -d 'Publication that is to be read.' -r
complete -c weir -n '__fish_seen_subcommand_from check' -l slot -d 'Slot that is to be read.' -r
complete -c weir -n '__fish_seen_subcommand_from check' -l state -d 'Directory for the state. Default: what the file says, else $XDG_STATE_HOME/weir or ~/.local/state/weir.' -r
complete -c weir -n '__fish_seen_subcommand_from check' -l no-copy -d 'The rows that are there are not to be copied.'
complete -c weir -n '__fish_seen_subcommand_from check' -l buffer -d 'Where changes are to wait for the target.' -x -a 'memory disk'
complete -c weir -n '__fish_seen_subcommand_from check' -l name -d 'Name of the pipeline.' -r
complete -c weir -n '__fish_seen_subcommand_from check' -l no-columns -d 'Leave the columns and their types out.'
complete -c weir -n '__fish_seen_subcommand_from check' -l format -d 'The report as text or as one JSON document, for programs.' -x -a 'text json'
complete -c weir -n '__fish_seen_subcommand_from check' -l dot -d 'Of a hub: a picture for Graphviz in place of the report, with the types.'
complete -c weir -n '__fish_seen_subcommand_from check' -l no-connect -d 'Of a hub: look at its files only, without connecting to its systems.'
complete -c weir -n __fish_use_subcommand -f -a verify -d 'compare every row of the target with the source'
complete -c weir -n '__fish_seen_subcommand_from verify' -l table -d 'Tables to compare, as weir stream takes them. The pipeline\'s tables stay what they are. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l exclude-table -d 'Leave these tables out, also where --table names them: schema.table, schema.* or table. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l only -d 'Compare these of them only: schema.table, schema.* or table. Can be repeated.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l repair -d 'Write the source\'s rows over what differs, or copy a table without a key anew, and compare again.'
complete -c weir -n '__fish_seen_subcommand_from verify' -l limit -d 'Rows of a table that are printed when they differ. All are counted.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l jobs -d 'Tables copied at the same time, if any are still to be copied.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l buffer -d 'Where the pipeline\'s changes wait, as weir stream was told.' -x -a 'memory disk'
complete -c weir -n '__fish_seen_subcommand_from verify' -l on-error -d 'What to do with a change that the target refuses on the way, as weir stream has it.' -x -a 'stop dead-letter'
complete -c weir -n '__fish_seen_subcommand_from verify' -l patience -d 'A run that has an end gives up when no attempt, of three at least, has got anywhere for so long; 0: never, as one that has none.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l publication -d 'Publication that is read.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l slot -d 'Slot that is read.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l state -d 'Directory for the state. Default: what the file says, else $XDG_STATE_HOME/weir or ~/.local/state/weir.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l name -d 'Name of the pipeline; of a project: the one to verify. Default: all of them.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l route -d 'Of a project: the place that is compared. Default: all that can be. All places of its pipeline are brought to the LSN.' -r
complete -c weir -n '__fish_seen_subcommand_from verify' -l progress -d 'Show live progress: auto does so on a terminal.' -x -a 'auto always never'
complete -c weir -n '__fish_seen_subcommand_from verify' -l format -d 'The result as text or as one JSON document, for programs.' -x -a 'text json'
complete -c weir -n __fish_use_subcommand -f -a slots -d 'see and drop replication slots'
complete -c weir -n __fish_use_subcommand -f -a replay -d 'send again what a disk buffer has kept'
complete -c weir -n '__fish_seen_subcommand_from replay' -l route -d 'The place that gets it again; needed when the pipeline has several.' -r
complete -c weir -n '__fish_seen_subcommand_from replay' -l from -d 'Where to begin: everything that was committed at or behind it is sent.' -r
complete -c weir -n '__fish_seen_subcommand_from replay' -l project -d 'The project that has the pipeline.' -r
complete -c weir -n '__fish_seen_subcommand_from replay' -l state -d 'Directory for the state, as for weir run.' -r
complete -c weir -n '__fish_seen_subcommand_from replay' -l patience -d 'A run that has an end gives up when no attempt, of three at least, has got anywhere for so long; 0: never, as one that has none.' -r
complete -c weir -n __fish_use_subcommand -f -a dead -d 'see, retry and drop changes that a target refused'
complete -c weir -n '__fish_seen_subcommand_from dead' -l all -d 'For retry and drop: every letter, and not those of the given numbers.'
complete -c weir -n '__fish_seen_subcommand_from dead' -l state -d 'Directory for the state, as for weir stream and weir run.' -r
complete -c weir -n __fish_use_subcommand -f -a init -d 'make a project file to start from'
complete -c weir -n __fish_use_subcommand -f -a help -d 'explain a command, a source or a sink'
complete -c weir -n 'not __fish_use_subcommand' -l log-format -d 'Log lines as text or as JSON objects.' -x -a 'text json'
complete -c weir -n 'not __fish_use_subcommand' -l log-level -d 'How much to log.' -x -a 'error warn info debug'
