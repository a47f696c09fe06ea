job "platform-loki" {
  region      = "eu"
  namespace   = "observability"
  datacenters = ["fra1", "ams1"]
  type        = "service"

  group "loki" {
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
        static = 3100
      }
      port "grpc" {}
    }

    volume "data" {
      type   = "host"
      source = "platform-loki"
    }

    service {
      name     = "loki"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        path     = "/ready"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "loki" {
      # Chunks in memory are written out at the end; what a kill cuts off is in the write-ahead log.
      kill_timeout = "60s"

      env {
        GOMEMLIMIT = "409MiB"
        DATA_DIR   = "/loki"
      }

      template {
        destination = "local/loki.yml"
        data        = "{{ key \"obsctl/platform/config/loki.yml\" }}"
        change_mode = "restart"
      }

      volume_mount {
        volume      = "data"
        destination = "/loki"
      }

      driver = "docker"

      config {
        image        = "grafana/loki:3.7.6"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "-config.file=${NOMAD_TASK_DIR}/loki.yml",
          "-config.expand-env=true",
        ]
      }

      resources {
        cpu    = 300
        memory = 512
      }
    }
  }
}
