# SPDX-License-Identifier: GPL-3.0-or-later

set -l verbs call reload upgrade
set -l none "not __fish_seen_subcommand_from $verbs help"
set -l call '__fish_seen_subcommand_from call; and not __fish_seen_subcommand_from help'
set -l control '__fish_seen_subcommand_from reload upgrade; and not __fish_seen_subcommand_from help'
set -l help "__fish_seen_subcommand_from help; and not __fish_seen_subcommand_from $verbs"
set -l names agi_{network,network_script,request,channel,language,type,uniqueid,version}= \
    agi_{callerid,calleridname,callingpres,callingani2,callington,callingtns,dnid,rdnis}= \
    agi_{context,extension,priority,enhanced,accountcode,threadid}=

complete -c agitatorctl -f
complete -c agitatorctl -n 'not __fish_seen_subcommand_from help' -s h -l help -d 'Show a summary'
complete -c agitatorctl -n $none -l version -d 'Print the version'
complete -c agitatorctl -n $none -a call -d 'Call a FastAGI server, or agitator, as Asterisk would'
complete -c agitatorctl -n $none -a reload -d 'Have agitator take its changed configuration'
complete -c agitatorctl -n $none -a upgrade \
    -d 'Have agitator go on as the program that is installed now'
complete -c agitatorctl -n $none -a help -d 'Explain a verb'

complete -c agitatorctl -n $call -s a -l arg -x \
    -d 'Pass an argument, as agi_arg_1, agi_arg_2 and so on'
complete -c agitatorctl -n $call -s s -l set -x -a "$names" \
    -d 'Give a line of the environment another value, or add it'
complete -c agitatorctl -n $call -s t -l timeout -x -d 'Hang up after that time'
complete -c agitatorctl -n $call -s r -l retry -x \
    -d 'Go on trying that long while nobody listens yet'
complete -c agitatorctl -n $call -s q -l quiet -d 'Print how it ended, not the dialogue'
complete -c agitatorctl -n $call -a agi:// -d 'URL'

complete -c agitatorctl -n $control -l socket -r -F -d 'The control socket of the running agitator'

complete -c agitatorctl -n $help -a "$verbs"
