job "platform-grafana" {
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

  group "grafana" {
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
        static = 3000
      }
    }

    volume "data" {
      type   = "host"
      source = "platform-grafana"
    }

    service {
      name     = "grafana"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        path     = "/api/health"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "grafana" {
      kill_timeout = "30s"

      # With every driver Grafana looks for its files in the task's folder; the image too, which has other defaults.
      env {
        GF_PATHS_CONFIG            = "${NOMAD_TASK_DIR}/grafana.ini"
        GF_PATHS_PROVISIONING      = "${NOMAD_TASK_DIR}/provisioning"
        GF_PATHS_DATA              = "/var/lib/grafana"
        GF_PATHS_PLUGINS           = "/var/lib/grafana/plugins"
        GF_SECURITY_ADMIN_PASSWORD = "$__file{${NOMAD_SECRETS_DIR}/admin_password}"
        GF_SECURITY_SECRET_KEY     = "$__file{${NOMAD_SECRETS_DIR}/secret_key}"
      }

      template {
        destination = "local/grafana.ini"
        data        = "{{ key \"obsctl/platform/config/grafana.ini\" }}"
        change_mode = "restart"
      }

      template {
        destination = "local/provisioning/datasources/obsctl.yml"
        data        = "{{ key \"obsctl/platform/config/datasources.yml\" }}"
        change_mode = "restart"
      }

      template {
        destination = "local/provisioning/dashboards/obsctl.yml"
        data        = "{{ key \"obsctl/platform/config/dashboards.yml\" }}"
        change_mode = "restart"
      }

      # Where the datasources are. Grafana reads that when it starts; one that is away for a moment comes back to where it was.
      template {
        destination = "local/datasources.env"
        env         = true
        change_mode = "restart"
        data        = <<-EOT
        PROMETHEUS_URL=http://{{ $at := "127.0.0.1:9090" }}{{ range service "prometheus" }}{{ if eq (index .ServiceMeta "obsctl_stack") "platform" }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}
        ALERTMANAGER_URL=http://{{ $at := "127.0.0.1:9093" }}{{ range service "alertmanager" }}{{ if eq (index .ServiceMeta "obsctl_stack") "platform" }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}
        JAEGER_URL=http://{{ $at := "127.0.0.1:16686" }}{{ range service "jaeger" }}{{ if eq (index .ServiceMeta "obsctl_stack") "platform" }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}
        VICTORIALOGS_URL=http://{{ $at := "127.0.0.1:9428" }}{{ range service "victorialogs" }}{{ if eq (index .ServiceMeta "obsctl_stack") "platform" }}{{ $at = printf "%s:%d" (.Address | regexReplaceAll "^(.*:.*)$" "[$1]") .Port }}{{ end }}{{ end }}{{ $at }}
        EOT

        wait {
          min = "30s"
          max = "5m"
        }
      }

      template {
        destination = "secrets/admin_password"
        change_mode = "noop"
        perms       = "0400"
        uid         = 472
        gid         = 472
        data        = "{{ with nomadVar \"nomad/jobs/platform-grafana\" }}{{ index . \"admin_password\" }}{{ end }}"
      }

      template {
        destination = "secrets/secret_key"
        change_mode = "noop"
        perms       = "0400"
        uid         = 472
        gid         = 472
        data        = "{{ with nomadVar \"nomad/jobs/platform-grafana\" }}{{ index . \"secret_key\" }}{{ end }}"
      }

      # Grafana looks for changed dashboards by itself.
      template {
        destination = "local/dashboards/Cluster/obsctl-consul.json"
        data        = "{{ key \"obsctl/platform/dashboards/Cluster/obsctl-consul\" }}"
        change_mode = "noop"
      }

      template {
        destination = "local/dashboards/Services/obsctl-hello-service.json"
        data        = "{{ key \"obsctl/platform/dashboards/Services/obsctl-hello-service\" }}"
        change_mode = "noop"
      }

      template {
        destination = "local/dashboards/Stack/obsctl-logs.json"
        data        = "{{ key \"obsctl/platform/dashboards/Stack/obsctl-logs\" }}"
        change_mode = "noop"
      }

      template {
        destination = "local/dashboards/Cluster/obsctl-nomad.json"
        data        = "{{ key \"obsctl/platform/dashboards/Cluster/obsctl-nomad\" }}"
        change_mode = "noop"
      }

      template {
        destination = "local/dashboards/Stack/obsctl-overview.json"
        data        = "{{ key \"obsctl/platform/dashboards/Stack/obsctl-overview\" }}"
        change_mode = "noop"
      }

      template {
        destination = "local/dashboards/Services/obsctl-response-service.json"
        data        = "{{ key \"obsctl/platform/dashboards/Services/obsctl-response-service\" }}"
        change_mode = "noop"
      }

      template {
        destination = "local/dashboards/Stack/obsctl-traces.json"
        data        = "{{ key \"obsctl/platform/dashboards/Stack/obsctl-traces\" }}"
        change_mode = "noop"
      }

      volume_mount {
        volume      = "data"
        destination = "/var/lib/grafana"
      }

      driver = "docker"

      config {
        image        = "grafana/grafana:13.1.3"
        network_mode = "host"
        work_dir     = "/"
        args = [
        ]
      }

      resources {
        cpu    = 200
        memory = 512
      }
    }
  }
}
