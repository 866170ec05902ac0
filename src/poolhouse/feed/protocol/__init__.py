"""The protocol between daemon and console, without a socket.

==============  ===================================================================================
`datagrams`     the datagrams, to bytes and back
`subscribers`   the server's side: which console is sent what
`subscription`  the console's side of one conversation
`chunks`        a frame of any size through small datagrams
`frame`         a snapshot as a frame
`plain`         typed values as JSON, checked on the way back
`values`        a fleet as far as collectd's value lists describe it
==============  ===================================================================================
"""
