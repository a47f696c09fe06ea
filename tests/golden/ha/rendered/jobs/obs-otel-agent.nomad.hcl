job "obs-otel-agent" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "system"

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
      source = "obs-otel-agent"
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
        obsctl_stack    = "obs"
        nomad_namespace = "default"
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
        obsctl_stack    = "obs"
        nomad_namespace = "default"
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
          "--nomad=http://127.0.0.1:4646",
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
        data        = "{{ key \"obsctl/obs/config/otel-agent.yml\" }}"
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
          otlp_http/gateway: {endpoint: "http://{{ $at := "127.0.0.1:14318" }}{{ with index (service "otel-gateway" | byMeta "obsctl_stack") "obs" }}{{ $turn := env "node.unique.id" | sprig_adler32sum | parseInt | modulo (len .) }}{{ with index . $turn }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}"}
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
