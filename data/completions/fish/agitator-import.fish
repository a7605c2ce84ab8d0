# SPDX-License-Identifier: GPL-3.0-or-later

complete -c agitator-import -s o -l output -r -F -d 'Write to FILE, not to standard output'
complete -c agitator-import -s f -l force -d 'Replace the FILE of --output'
complete -c agitator-import -l version -d 'Print the version, and exit'
complete -c agitator-import -s h -l help -d 'Show a summary'
