job "platform-otel-agent" {
  region      = "eu"
  namespace   = "observability"
  datacenters = ["fra1", "ams1"]
  type        = "system"
  node_pool   = "infrastructure"

  constraint {
    attribute = "${attr.cpu.arch}"
    operator  = "="
    value     = "amd64"
  }

  meta {
    obsctl_logs = "none" # what it says about a line must not become another line
  }

  group "otel-agent" {
    update {
      max_parallel      = 10
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
      mode     = "delay"
    }

    network {
      mode = "host"
      port "http" {
        static = 4318
      }
      port "grpc" {
        static = 4317
      }
      port "health" {}
      port "telemetry" {}
      port "links" {}
    }

    volume "data" {
      type   = "host"
      source = "platform-otel-agent"
    }

    volume "nomad-alloc" {
      type      = "host"
      source    = "obsctl-nomad-alloc"
      read_only = false # hard links lie where their files do
    }

    volume "host-root" {
      type      = "host"
      source    = "obsctl-host-root"
      read_only = true
    }

    service {
      name     = "otel-agent"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
        metrics_port    = "${NOMAD_PORT_telemetry}"
      }

      check {
        type     = "http"
        port     = "health"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }
    }

    service {
      name     = "log-links"
      provider = "consul"
      port     = "links"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }
    }

    # Names the allocations, whose log files alone do not say which job wrote them, and keeps from the collector what else
    # lies there.
    task "log-links" {
      user = "root" # whose log files are; without any right of its own

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      volume_mount {
        volume      = "nomad-alloc"
        destination = "/nomad-alloc"
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

template {
        destination = "local/nomad-tls.env"
        env         = true
        data        = <<-EOT
        NOMAD_CACERT={{ env "NOMAD_TASK_DIR" }}/nomad-ca.pem
        EOT
      }

      identity {
        env = true # NOMAD_TOKEN
      }

      driver = "docker"

      config {
        image        = "obsctl/obsctl:0.1.0"
        network_mode = "host"
        work_dir     = "/"
        cap_drop = ["all"]
        args = [
          "serve",
          "log-links",
          "--bind=${NOMAD_IP_links}",
          "--port=${NOMAD_PORT_links}",
          "--nomad=https://nomad.example.internal:4646",
          "--nomad-socket=${NOMAD_SECRETS_DIR}/api.sock",
          "--node=${node.unique.id}",
          "--allocations=/nomad-alloc",
        ]
      }

      resources {
        cpu    = 50
        memory = 96
      }
    }

    task "otel-agent" {
      kill_timeout = "20s"

      env {
        GOMEMLIMIT = "204MiB"
        LINKS      = "/nomad-alloc/${NOMAD_ALLOC_ID}/links"
        DATA_DIR   = "/var/lib/otelcol"
        NODE_ID    = "${node.unique.id}"
        NODE_NAME  = "${node.unique.name}"
        DATACENTER = "${node.datacenter}"

        # The node's file systems: below /host. Docker and Podman mount all of them there; exec mounts the first alone, and
        # its task sees no mounts but its own.
        HOST_AT = "/host"
        HOST_ROOT = "/host"
      }

      template {
        destination = "local/otel-agent.yml"
        data        = "{{ key \"obsctl/platform/config/otel-agent.yml\" }}"
        change_mode = "restart"
      }

      template {
        destination = "local/gateway.yml"
        change_mode = "restart"
        wait {
          min = "3s"
          max = "15s"
        }
        data        = <<-EOT
        exporters:
          otlp_http/gateway: {endpoint: "http://{{ $at := "127.0.0.1:14318" }}{{ range service "otel-gateway" }}{{ if eq (index .ServiceMeta "obsctl_stack") "platform" }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}"}
        EOT
      }

      volume_mount {
        volume      = "data"
        destination = "/var/lib/otelcol"
      }

      volume_mount {
        volume      = "nomad-alloc"
        destination = "/nomad-alloc"
        read_only   = true
      }

      volume_mount {
        volume           = "host-root"
        destination      = "/host"
        read_only        = true
        propagation_mode = "host-to-task" # what the node mounts later, too; Docker wants it for what its own folder lies in
      }

      driver = "docker"

      config {
        image        = "otel/opentelemetry-collector-contrib:0.165.0"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "--config=${NOMAD_TASK_DIR}/otel-agent.yml",
          "--config=${NOMAD_TASK_DIR}/gateway.yml",
        ]
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
