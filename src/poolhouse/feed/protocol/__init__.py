"""The protocol between daemon and console, without a socket.

==============  ===================================================================================
`datagrams`     the words, to bytes and back
`subscribers`   the server's side: who is to be sent what
`subscription`  the console's side of one conversation
`chunks`        a frame of any size through small datagrams
`frame`         a snapshot as a frame
`plain`         typed values as JSON, and checked on the way back
`values`        a fleet as far as collectd's value lists tell it
==============  ===================================================================================
"""
