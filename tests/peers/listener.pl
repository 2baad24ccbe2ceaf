# A listener in Perl, which is given the key, and where the text lies in the message.
#
#     listener.pl KEY OFFSET [came]
#
# With "came", the signal has come already: a program in another language, which has no call for
# shared memory at hand, has become this one by exec(2), and so has the PID to which it was sent.
my ($key, $offset, $came) = @ARGV;
$| = 1;
unless ($came) {
    $SIG{USR1} = sub { $came = 1 };
    print "# Listening on PID=$$\n";
    # Not for ever: the signal may come just before.
    select(undef, undef, undef, .01) until $came;
}
defined(my $id = shmget($key, 1024, 0)) or die "shmget: $!";
shmread($id, my $bytes, 0, 1024) or die "shmread: $!";
print "# Received: ", unpack("x$offset Z*", $bytes), "\n";
