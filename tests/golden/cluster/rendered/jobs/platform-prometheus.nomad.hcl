job "platform-prometheus" {
  region      = "eu"
  namespace   = "observability"
  datacenters = ["fra1", "ams1"]
  type        = "service"
  node_pool   = "infrastructure"

  constraint {
    attribute = "${attr.cpu.arch}"
    operator  = "="
    value     = "amd64"
  }

  constraint {
    attribute = "${meta.disk}"
    operator  = "is_set"
  }

  affinity {
    attribute = "${node.class}"
    operator  = "="
    value     = "large"
    weight    = 80
  }

  group "prometheus" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "10s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "10s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {
        static = 9090
      }
    }

    volume "data" {
      type   = "host"
      source = "prometheus-data"
    }

    service {
      name     = "prometheus"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        path     = "/-/ready"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "prometheus" {
      # The head block is written out at the end; a kill in the middle costs a WAL replay at the next start.
      kill_signal  = "SIGTERM"
      kill_timeout = "60s"

      template {
        destination = "local/prometheus.yml"
        data        = "{{ key \"obsctl/platform/config/prometheus.yml\" }}"
        change_mode = "noop" # Prometheus reloads by itself
      }

      # One KV value a rule group: a new group never touches this job.
      template {
        destination = "local/rules/groups.yml"
        change_mode = "noop"
        data        = <<-EOT
        groups:
        {{- range ls "obsctl/platform/rules" }}
        {{ .Value }}
        {{- end }}
        EOT
      }

      template {
        destination = "local/consul-ca.pem"
        data        = <<-EOT
        -----BEGIN CERTIFICATE-----
        MIIC8TCCApagAwIBAgIRAPoCpMqX3l/n0WNnxRsCECwwCgYIKoZIzj0EAwIwgbkx
        CzAJBgNVBAYTAlVTMQswCQYDVQQIEwJDQTEWMBQGA1UEBxMNU2FuIEZyYW5jaXNj
        bzEaMBgGA1UECRMRMTAxIFNlY29uZCBTdHJlZXQxDjAMBgNVBBETBTk0MTA1MRcw
        FQYDVQQKEw5IYXNoaUNvcnAgSW5jLjFAMD4GA1UEAxM3Q29uc3VsIEFnZW50IENB
        IDMzMjMyMDcyNTkwNjIxMDkzNTU1MjYzMzg3MTI3ODE0MjUyNTQ4NDAgFw0yNjEx
        MjUyMTAzMTRaGA8yMTI2MTEwMTIxMDMxNFowgbkxCzAJBgNVBAYTAlVTMQswCQYD
        VQQIEwJDQTEWMBQGA1UEBxMNU2FuIEZyYW5jaXNjbzEaMBgGA1UECRMRMTAxIFNl
        Y29uZCBTdHJlZXQxDjAMBgNVBBETBTk0MTA1MRcwFQYDVQQKEw5IYXNoaUNvcnAg
        SW5jLjFAMD4GA1UEAxM3Q29uc3VsIEFnZW50IENBIDMzMjMyMDcyNTkwNjIxMDkz
        NTU1MjYzMzg3MTI3ODE0MjUyNTQ4NDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
        BNFO9hWxvfhlAmqJHobM6VnxkcwElZLVa3VbJArKc0wNcpYQrZFynczarmxT0/bt
        j4XaHodYhTweFYNdzlpljaGjezB5MA4GA1UdDwEB/wQEAwIBhjAPBgNVHRMBAf8E
        BTADAQH/MCkGA1UdDgQiBCCIeBqF+gVQornABMgcHMbefEkVXtpNoMkDXFUQYuqd
        RTArBgNVHSMEJDAigCCIeBqF+gVQornABMgcHMbefEkVXtpNoMkDXFUQYuqdRTAK
        BggqhkjOPQQDAgNJADBGAiEA1eobHEIM0gN+lKU1881K4w03hDUUuQRNDBc0o6Dw
        VaECIQC3MVjk83Hqlhs1bx79Q2zjjxt9YkOtHqdAMkLkm69sYg==
        -----END CERTIFICATE-----
        EOT
      }

      template {
        destination = "local/nomad-ca.pem"
        data        = <<-EOT
        -----BEGIN CERTIFICATE-----
        MIIC8TCCApagAwIBAgIRAPoCpMqX3l/n0WNnxRsCECwwCgYIKoZIzj0EAwIwgbkx
        CzAJBgNVBAYTAlVTMQswCQYDVQQIEwJDQTEWMBQGA1UEBxMNU2FuIEZyYW5jaXNj
        bzEaMBgGA1UECRMRMTAxIFNlY29uZCBTdHJlZXQxDjAMBgNVBBETBTk0MTA1MRcw
        FQYDVQQKEw5IYXNoaUNvcnAgSW5jLjFAMD4GA1UEAxM3Q29uc3VsIEFnZW50IENB
        IDMzMjMyMDcyNTkwNjIxMDkzNTU1MjYzMzg3MTI3ODE0MjUyNTQ4NDAgFw0yNjEx
        MjUyMTAzMTRaGA8yMTI2MTEwMTIxMDMxNFowgbkxCzAJBgNVBAYTAlVTMQswCQYD
        VQQIEwJDQTEWMBQGA1UEBxMNU2FuIEZyYW5jaXNjbzEaMBgGA1UECRMRMTAxIFNl
        Y29uZCBTdHJlZXQxDjAMBgNVBBETBTk0MTA1MRcwFQYDVQQKEw5IYXNoaUNvcnAg
        SW5jLjFAMD4GA1UEAxM3Q29uc3VsIEFnZW50IENBIDMzMjMyMDcyNTkwNjIxMDkz
        NTU1MjYzMzg3MTI3ODE0MjUyNTQ4NDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
        BNFO9hWxvfhlAmqJHobM6VnxkcwElZLVa3VbJArKc0wNcpYQrZFynczarmxT0/bt
        j4XaHodYhTweFYNdzlpljaGjezB5MA4GA1UdDwEB/wQEAwIBhjAPBgNVHRMBAf8E
        BTADAQH/MCkGA1UdDgQiBCCIeBqF+gVQornABMgcHMbefEkVXtpNoMkDXFUQYuqd
        RTArBgNVHSMEJDAigCCIeBqF+gVQornABMgcHMbefEkVXtpNoMkDXFUQYuqdRTAK
        BggqhkjOPQQDAgNJADBGAiEA1eobHEIM0gN+lKU1881K4w03hDUUuQRNDBc0o6Dw
        VaECIQC3MVjk83Hqlhs1bx79Q2zjjxt9YkOtHqdAMkLkm69sYg==
        -----END CERTIFICATE-----
        EOT
      }

      volume_mount {
        volume      = "data"
        destination = "/prometheus"
      }

      driver = "docker"

      config {
        image        = "prom/prometheus:v3.14.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "--config.file=${NOMAD_TASK_DIR}/prometheus.yml",
          "--config.auto-reload-interval=15s",
          "--config.auto-reload",
          "--storage.tsdb.path=/prometheus",
          "--storage.tsdb.retention.time=720h",
          "--enable-feature=exemplar-storage",
          "--rules.alert.resend-delay=1m",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--web.external-url=http://${NOMAD_ADDR_http}/",
          "--web.cors.origin=none",
        ]
      }

      resources {
        cpu    = 500
        memory = 4096
      }
    }
  }
}
