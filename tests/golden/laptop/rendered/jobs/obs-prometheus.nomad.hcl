job "obs-prometheus" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "prometheus" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "2s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "2s"
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

    service {
      name     = "prometheus"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "obs"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/-/ready"
        interval = "1s"
        timeout  = "2s"
      }
    }

    task "prometheus" {
      # The head block is written out at the end; a kill in the middle costs a WAL replay at the next start.
      kill_signal  = "SIGTERM"
      kill_timeout = "60s"

      template {
        destination = "local/prometheus.yml"
        data        = "{{ key \"obsctl/obs/config/prometheus.yml\" }}"
        change_mode = "noop" # Prometheus reloads by itself
      }

      # One KV value a rule group: a new group never touches this job.
      template {
        destination = "local/rules/groups.yml"
        change_mode = "noop"
        data        = <<-EOT
        groups:
        {{- range ls "obsctl/obs/rules" }}
        {{ .Value }}
        {{- end }}
        EOT
      }

      driver = "raw_exec"

      config {
        command = "prometheus"
        args = [
          "--config.file=${NOMAD_TASK_DIR}/prometheus.yml",
          "--config.auto-reload-interval=2s",
          "--config.auto-reload",
          "--storage.tsdb.path=${meta.obsctl_volumes}/obs-prometheus",
          "--storage.tsdb.retention.time=360h",
          "--enable-feature=exemplar-storage",
          "--rules.alert.resend-delay=10s",
          "--web.listen-address=${NOMAD_ADDR_http}",
          "--web.external-url=http://${NOMAD_ADDR_http}/",
          "--web.cors.origin=none",
        ]
      }

      resources {
        cpu    = 500
        memory = 1024
      }
    }
  }
}
