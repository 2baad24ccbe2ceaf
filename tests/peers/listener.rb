# A listener in Ruby. At the signal it becomes the program that its arguments name, which reads.
trap("USR1") { exec(*ARGV) }
puts "# Listening on PID=#{$$}"
$stdout.flush
sleep
