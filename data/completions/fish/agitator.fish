# SPDX-License-Identifier: GPL-3.0-or-later

complete -c agitator -f
complete -c agitator -s c -l config -r -F -d 'Read FILE, and FILE.d/*.conf, as configuration'
complete -c agitator -l check-config -d 'Report every mistake in the configuration, and exit'
complete -c agitator -l dump-config -d 'Print every setting in force and where it is from, and exit'
complete -c agitator -l version -d 'Print the version, and exit'
complete -c agitator -s h -l help -d 'Show a summary'
