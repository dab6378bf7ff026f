package kafka

import (
	"crypto/tls"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func TestNew_NamesTheFieldThatIsWrong(t *testing.T) {
	login := &watchroutev1.Login{Username: "u", Password: &watchroutev1.Secret{At: &watchroutev1.Secret_Env{Env: "P"}}}
	for field, change := range map[string]func(*watchroutev1.KafkaSource){
		"":                     func(*watchroutev1.KafkaSource) {},
		"kafka.brokers":        func(k *watchroutev1.KafkaSource) { k.Brokers = nil },
		"kafka.brokers[1]":     func(k *watchroutev1.KafkaSource) { k.Brokers = []string{"a:1", "b"} },
		"kafka.brokers[0]":     func(k *watchroutev1.KafkaSource) { k.Brokers = []string{"kafka://a:9092"} },
		"kafka.topics":         func(k *watchroutev1.KafkaSource) { k.Topics = nil },
		"kafka.topics[0]":      func(k *watchroutev1.KafkaSource) { k.Topics = []string{"a b"} },
		"kafka.topics[1]":      func(k *watchroutev1.KafkaSource) { k.Topics = []string{"a", "a"} },
		"kafka.start":          func(k *watchroutev1.KafkaSource) { k.Start = 9 },
		"kafka.sasl":           func(k *watchroutev1.KafkaSource) { k.Login = login },
		"kafka.login":          func(k *watchroutev1.KafkaSource) { k.Sasl = watchroutev1.KafkaSource_PLAIN },
		"kafka.login.password": func(k *watchroutev1.KafkaSource) { k.Sasl, k.Login = 1, &watchroutev1.Login{Username: "u"} },
		"kafka.tls":            func(k *watchroutev1.KafkaSource) { k.Tls = &watchroutev1.ClientTls{KeyFile: "key.pem"} },
	} {
		k := &watchroutev1.KafkaSource{Brokers: []string{"broker-1:9092"}, Topics: []string{"orders"}}
		change(k)
		_, err := New(&watchroutev1.Source{SourceId: "shop", Connector: &watchroutev1.Source_Kafka{Kafka: k}})
		if field == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if !resource.HasReason(err, resource.InvalidField) || resource.AsError(err).Metadata["field"] != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func TestRun_ASecretIsReadAnewAndARefusedLoginIsNotForGood(t *testing.T) {
	for name, sasl := range map[string]watchroutev1.KafkaSource_Sasl{"PLAIN": 1, "SCRAM-SHA-256": 2, "SCRAM-SHA-512": 3} {
		t.Run(name, func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.EnableSASL(), kfake.Superuser(name, "watchroute", "s3cret"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			password := secret(t, "wrong\n")
			s := place(t, &watchroutev1.KafkaSource{Brokers: c.ListenAddrs(), Topics: []string{"orders"}, Sasl: sasl,
				Login: &watchroutev1.Login{Username: "watchroute", Password: password}})
			says(t, start(t, s, newLog()).failure(), false, "login", "refuses")
			write(t, password.GetFile(), "s3cret\n")
			l := newLog()
			l.waitConnected(t, start(t, s, l))
		})
	}
}

func TestRun_OverTLS(t *testing.T) {
	certificate, ca := certify(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	k := &watchroutev1.KafkaSource{Brokers: c.ListenAddrs(), Topics: []string{"orders"}, Tls: &watchroutev1.ClientTls{Enabled: true}}
	says(t, start(t, place(t, k), newLog()).failure(), false, "no broker answers", "certificate")
	k.Tls = &watchroutev1.ClientTls{CaFile: ca}
	l := newLog()
	l.waitConnected(t, start(t, place(t, k), l))
}
